"""Position codes against their formula and against torch's bicubic resize."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cast_exp.models.positions import Positions, resize_grid, sincos_grid


def test_codes_are_sines_and_cosines_of_row_and_column() -> None:
    dim, row, column = 12, 2, 5
    code = sincos_grid(dim, 4, 7)
    assert (code.shape, code.dtype) == ((1, dim, 4, 7), torch.float32)
    waves = [10000 ** (-j / (dim / 4)) for j in range(dim // 4)]
    expected = [
        f(place * w) for place in (row, column) for f in (math.sin, math.cos) for w in waves
    ]
    assert code[0, :, row, column].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_width_is_a_multiple_of_four() -> None:
    with pytest.raises(ValueError, match="divisible by 4, not 10"):
        sincos_grid(10, 2, 2)


def test_only_learned_codes_are_trained() -> None:
    fixed, learned = Positions(8, (3, 4)), Positions(8, (3, 4), "learned")
    assert not list(fixed.parameters())
    assert torch.equal(fixed.grid, sincos_grid(8, 3, 4))
    assert not fixed.cls.any()
    assert {name for name, _ in learned.named_parameters()} == {"grid", "cls"}
    assert 0 < learned.grid.std() < 0.04
    assert fixed.state_dict().keys() == learned.state_dict().keys()


def test_codes_can_be_built_where_the_default_device_has_no_float64() -> None:
    class Float64OnlyOnTheCPU(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            assert result.dtype != torch.float64 or result.device.type == "cpu"
            return result

    with torch.device("meta"), Float64OnlyOnTheCPU():
        positions = Positions(8, (3, 4))
    assert positions.grid.device == positions.cls.device == torch.device("meta")


def cubic(x: float, a: float = -0.75) -> float:
    """Weight of a value at a distance in cells (Keys, 1981)."""
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0


def test_codes_are_resized_only_where_the_grid_differs() -> None:
    positions = Positions(8, (4, 4), "learned")
    assert positions.at(4, 4) is positions.grid
    assert positions.at(6, 3).shape == (1, 8, 6, 3)
    constant = torch.full((1, 2, 3, 5), 0.7)
    torch.testing.assert_close(resize_grid(constant, 7, 4), torch.full((1, 2, 7, 4), 0.7))
    row = torch.rand(12)
    twice = resize_grid(row.expand(1, 1, 3, 12), 3, 24)[0, 0, 1]
    for i in range(6, 18):
        centre = (i + 0.5) / 2 - 0.5  # corners are not aligned
        expected = sum(row[j].item() * cubic(abs(centre - j)) for j in range(12))
        assert twice[i].item() == pytest.approx(expected, abs=1e-5)
