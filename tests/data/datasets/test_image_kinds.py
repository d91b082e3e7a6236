import numpy as np
import pytest
from PIL import Image

from cast_exp.data.datasets.image_kinds import PLAIN, ImageKind
from cast_exp.data.datasets.images import DeepImage


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("RGB", PLAIN),
        ("L", "8-bit grey, repeated for three channels"),
        ("1", "8-bit grey, repeated for three channels"),
        ("RGBA", "8-bit with alpha, which is dropped"),
        ("CMYK", "of mode CMYK, converted to RGB"),
        ("I;16", "uint16 grey, black up to 0, white from 65535"),
    ],
)
def test_names(mode: str, said: str) -> None:
    assert ImageKind.of(Image.new(mode, (3, 2)), None).name == said


def kind(*values: float, dtype: str = "uint16", white: int | None = 65535) -> ImageKind:
    return ImageKind.of(DeepImage(np.array([values], dtype), white), None)


def test_sum() -> None:
    both = kind(3, 900) + kind(7, 4000)
    assert both.line == (
        "[yellow]2 images[/] uint16 grey, black up to 0, white from 65535 (values from 3 to 4000)"
    )
    colour = DeepImage(np.full((2, 2, 4), (5, 6, 7, 0), np.int16))
    line = ImageKind.of(colour, (-10.5, 10)).line
    assert "int16 colour, black up to -10.5, white from 10 (values from 5 to 7)" in line


@pytest.mark.parametrize(
    ("high", "bits"), [(0, 8), (255, 8), (900, 10), (4095, 12), (4096, 14), (16383, 14)]
)
def test_dark(high: int, bits: int) -> None:
    said = kind(0, high).fault
    assert said is not None
    assert f"above {high}: if they have {bits} bits" in said
    assert f"data.value_range=[0,{2**bits - 1}]; if not, [0,65535]" in said


def test_not_dark() -> None:
    for fine in (kind(16384), kind(9, white=4095), kind(0.01, dtype="float32", white=None)):
        assert fine.fault is None
    assert (kind(9) + kind(20000)).fault is None
    assert ImageKind.of(Image.new("L", (2, 2)), None).fault is None
