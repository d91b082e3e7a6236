import pytest
import torch

from cast_exp.superpixels import Grid, Slic
from cast_exp.superpixels.grid import square_side


def test_the_patches_of_a_vit() -> None:
    labels = Grid(196)(torch.rand(2, 3, 224, 224))
    expected = torch.arange(196).view(14, 14).repeat_interleave(16, 0).repeat_interleave(16, 1)
    assert torch.equal(labels, expected.expand(2, -1, -1))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 7), (30, 31), (64, 48), (321, 481)])
@pytest.mark.parametrize("count", [1, 2, 7, 64, 196, 5000])
def test_squares_as_small_as_can_be(size: tuple[int, int], count: int) -> None:
    def squares(side: int) -> int:
        return len(range(0, size[0], side)) * len(range(0, size[1], side))

    expected = next(side for side in range(1, 1000) if squares(side) <= count)
    assert square_side(*size, count) == expected
    labels = Grid(count)(torch.rand(1, 3, *size))[0]
    for y, x in ((0, 0), (size[0] - 1, size[1] - 1), (size[0] // 2, size[1] // 3)):
        columns = len(range(0, size[1], expected))
        assert labels[y, x] == y // expected * columns + x // expected
    assert len(labels.unique()) == labels.max() + 1 == squares(expected)
    assert Grid(count).labels(*size) == Slic(count).labels(*size) == squares(expected)
