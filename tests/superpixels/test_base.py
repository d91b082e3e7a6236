"""What all superpixel methods refuse, and how those that run on the CPU are called."""

import numpy as np
import pytest
import torch

from cast_exp.errors import UserError
from cast_exp.superpixels import FastSlic, Grid, Seeds, Slic, SuperpixelMethod
from cast_exp.superpixels.base import HostMethod


@pytest.mark.parametrize("value", [-0.5, 2.0, float("nan")])
def test_refuses_values_out_of_range(value: float) -> None:
    images = torch.zeros(1, 3, 32, 32)
    images[0, 1, 2, 3] = value
    for method in (Seeds(16), Slic(16)):
        with pytest.raises(UserError, match=r"0\.\.1.*before normalising"):
            method(images)


@pytest.mark.parametrize(("kind", "count"), [(Seeds, 9), (FastSlic, 0), (Slic, 0), (Grid, -1)])
def test_refuses_too_few(kind: type[SuperpixelMethod], count: int) -> None:
    with pytest.raises(UserError, match=f"at least .* not {count}"):
        kind(count)


class Rows(HostMethod):
    """Each row of pixels is a superpixel; keeps what it was given."""

    def __init__(self, count: int = 4, strength: float = 0.5) -> None:
        super().__init__(count)
        self.strength = strength
        self.seen: list[np.ndarray] = []

    def segment_image(self, image: np.ndarray) -> np.ndarray:
        self.seen.append(image)
        return np.repeat(np.arange(image.shape[0], dtype=np.uint8)[:, None], image.shape[1], 1)

    def labels(self, height: int, width: int) -> int:
        return min(height, self.count)


def test_the_cpu_gets_the_bytes_that_the_floats_were_made_from() -> None:
    pixels = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5, 3)
    method = Rows()
    labels = method(torch.from_numpy(pixels).movedim(-1, 1) / 255)
    assert (labels.dtype, labels.shape) == (torch.int64, (2, 4, 5))
    assert labels[1, :, 0].tolist() == [0, 1, 2, 3]
    for image, expected in zip(method.seen, pixels, strict=True):
        assert (image.dtype, image.flags.c_contiguous) == (np.uint8, True)
        assert np.array_equal(image, expected)


def test_a_label_that_the_method_says_it_does_not_give_is_refused() -> None:
    Rows()(torch.rand(2, 3, 4, 5))
    with pytest.raises(UserError, match=r"Rows .* label 4, .* 5 x 7 pixels has 4 labels"):
        Rows()(torch.rand(2, 3, 5, 7))


def test_rounding_of_a_normalisation_is_let_pass() -> None:
    Rows()(torch.full((1, 3, 4, 5), 1 + 1e-6))
    with pytest.raises(UserError, match=r"in 0\.\.1, not 1\.01\.\.1\.01"):
        Rows()(torch.full((1, 3, 4, 5), 1.01))


def test_a_method_is_shown_with_its_parameters() -> None:
    assert repr(Grid(16)) == "Grid(count=16)"
    assert repr(Rows(2)).startswith("Rows(count=2, strength=0.5")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            np.zeros((4, 5), np.float32),
            r"Rows should give integer labels .*not float32 of \(4, 5\)",
        ),
        (
            np.zeros((4, 4), np.int32),
            r"of shape \(4, 5\), not int32 of \(4, 4\).*segment_image\(\)",
        ),
    ],
)
def test_labels_of_a_wrong_form_name_the_method(
    made: np.ndarray, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rows, "segment_image", lambda *_: made)
    with pytest.raises(UserError, match=told):
        Rows()(torch.zeros(1, 3, 4, 5))
    monkeypatch.setattr(Grid, "segment", lambda *_: torch.from_numpy(made)[None])
    with pytest.raises(UserError, match=r"Grid should give int64 labels of shape \(1, 4, 5\), not"):
        Grid(4)(torch.zeros(1, 3, 4, 5))
