"""Pixels after each change are those of Pillow and torchvision."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torchvision.transforms.v2 import functional as F

from cast_exp.data import changes

Pixels = NDArray[np.uint8]


def pictures() -> list[Pixels]:
    draws = np.random.default_rng(0)
    coarse = Image.fromarray(draws.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((90, 70), Image.Resampling.BICUBIC))
    noise = draws.integers(0, 256, (64, 80, 3), dtype=np.uint8)
    extremes = draws.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), (40, 31, 3))
    single = draws.integers(0, 256, (1, 1, 3), dtype=np.uint8)
    return [smooth, noise, extremes, single, np.zeros((5, 6, 3), np.uint8)]


def same(found: Pixels, expected: Any) -> None:
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.asarray(expected))


@pytest.mark.parametrize(
    ("name", "reference", "factors"),
    [
        ("brightness", F.adjust_brightness, (0.0, 0.6, 0.93, 1.0, 1.4, 3.0)),
        ("contrast", F.adjust_contrast, (0.0, 0.6, 0.93, 1.0, 1.4, 3.0)),
        ("saturation", F.adjust_saturation, (0.0, 0.8, 1.0, 1.2, 3.0)),
        ("hue", F.adjust_hue, (-0.5, -0.1, -0.03, 0.0, 0.001, 0.07, 0.5)),
        ("solarized", F.solarize, (0, 1, 128, 255)),
    ],
)
def test_changes_by_a_factor(name: str, reference: Any, factors: tuple[float, ...]) -> None:
    for picture in pictures():
        before = picture.copy()
        for factor in factors:
            expected = reference(Image.fromarray(picture), factor)
            same(getattr(changes, name)(picture, factor), expected)
        assert np.array_equal(picture, before)


def test_grey_and_flip() -> None:
    for picture in pictures():
        image = Image.fromarray(picture)
        same(changes.grey(picture), F.rgb_to_grayscale(image, 3))
        same(changes.flipped(picture), F.horizontal_flip(image))


def test_blur() -> None:
    """Means of half a level are rounded either way: in few pixels, but for deviations such as 1."""
    sigmas = [*np.random.default_rng(1).uniform(0.1, 2, 40), 3.34, 4.13, 7.5, 20.0]
    exact = 0

    def difference(picture: Pixels, sigma: float) -> NDArray[np.int16]:
        blurred = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma))
        return np.abs(changes.blurred(picture, sigma) - np.asarray(blurred, np.int16))

    for picture in pictures():
        for sigma in np.array(sigmas, np.float32).tolist():
            assert difference(picture, sigma).max() <= 1
            assert (difference(picture, sigma) > 0).mean() < 0.01
            exact += not difference(picture, sigma).any()
        for sigma in (0.5, 1.0, 1.5, 2.0):
            assert difference(picture, sigma).max() <= 3
    assert exact >= 0.98 * len(pictures()) * len(sigmas)


def test_every_colour_of_hsv_comes_back_as_by_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    hues, saturations = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    convert = Image.Image.convert
    for value in range(256):
        planes = np.dstack([hues, saturations, np.full_like(hues, value)]).astype(np.uint8)
        hsv = Image.fromarray(planes, "HSV")
        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, "convert", lambda *_, given=hsv: given)
            found = changes.hue(planes, 0.0)
        same(found, convert(hsv, "RGB"))
