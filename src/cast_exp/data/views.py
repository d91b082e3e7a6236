"""Random views of an image: what is drawn for each, and how it is made of a decoded image."""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from cast_exp.data.changes import (
    blurred,
    brightness,
    contrast,
    flipped,
    grey,
    hue,
    saturation,
    solarized,
)

SOLARIZE_FROM = 128
"""Pixel values from this one on are inverted by solarisation."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # as torchvision numbers the changes of its jitter
_CHANGES = (brightness, contrast, saturation, hue)
_FACTORS = ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")


class Draw(NamedTuple):
    """All that is random about a view.

    Attributes:
        top: First row of the crop, in pixels of the image, as are the next three.
        left: First column.
        height: Rows.
        width: Columns.
        size: Side of the view in pixels.
        changes: Changes of colour in their order: which (`BRIGHTNESS` to `HUE`) and how much, as
            torchvision's functions take it.
        grey: Whether the colour is dropped.
        blur: Standard deviation of the blur in pixels of the view; 0 for none.
        solarize: Whether bright pixels are inverted.
        flip: Whether left and right are swapped.
    """

    top: int
    left: int
    height: int
    width: int
    size: int
    changes: tuple[tuple[int, float], ...] = ()
    grey: bool = False
    blur: float = 0.0
    solarize: bool = False
    flip: bool = False


class Colour:
    """Random changes of colour and sharpness; see `TwoViews` for the arguments."""

    def __init__(
        self,
        jitter: tuple[float, float, float, float],
        jitter_probability: float,
        grayscale_probability: float,
        blur_sigma: tuple[float, float],
        blur_probability: float,
        solarize_probability: float,
    ) -> None:
        self.jitter = v2.ColorJitter(*jitter)
        self.jitter_probability = jitter_probability
        self.grayscale_probability = grayscale_probability
        self.blur_sigma = tuple(blur_sigma)
        self.blur_probability = blur_probability
        self.solarize_probability = solarize_probability

    def draw(self, drawn: Draw) -> Draw:
        """Add what happens to the colours of a view."""
        changes: list[tuple[int, float]] = []
        if _happens(self.jitter_probability):
            jitter = self.jitter.make_params([])
            factors = [(change, jitter[_FACTORS[change]]) for change in jitter["fn_idx"].tolist()]
            changes = [(change, factor) for change, factor in factors if factor is not None]
        grey = _happens(self.grayscale_probability)
        blurred = _happens(self.blur_probability)
        return drawn._replace(
            changes=tuple(changes),
            grey=grey,
            blur=torch.empty(1).uniform_(*self.blur_sigma).item() if blurred else 0.0,
            solarize=_happens(self.solarize_probability),
        )


class View:
    """A random view of an image: a `Transform`, of which the drawing can be had alone.

    The operations, in this order: random resized crop (bilinear, antialiased, aspect ratio 3/4 to
    4/3), those of `Colour`, horizontal flip.

    Args:
        size: Side of the square view in pixels.
        crop_scale: Bounds of the share of the image's area that a crop covers.
        flip_probability: Probability of the horizontal flip.
        colour: Changes of colour; None for none.
    """

    def __init__(
        self,
        size: int,
        crop_scale: tuple[float, float],
        flip_probability: float,
        colour: Colour | None = None,
    ) -> None:
        self.size = size
        self.crop = v2.RandomResizedCrop(size, scale=tuple(crop_scale))
        self.flip_probability = flip_probability
        self.colour = colour

    def draw(self, image: Image.Image | Tensor) -> Draw:
        """Draw a view of an image (or of pixels (..., H, W)) from torch's global generator.

        Only the size of the image matters. The draws are torchvision's, in its order.
        """
        drawn = Draw(**self.crop.make_params([image]), size=self.size)
        if self.colour is not None:
            drawn = self.colour.draw(drawn)
        return drawn._replace(flip=_happens(self.flip_probability))

    def __call__(self, image: Image.Image) -> Tensor:
        """Draw and make a view, uint8 (3, size, size), of an RGB image."""
        drawn = self.draw(image)
        view = np.asarray(F.resized_crop(image, *drawn[:4], [drawn.size] * 2))
        for change, factor in drawn.changes:
            view = _CHANGES[change](view, factor)
        if drawn.grey:
            view = grey(view)
        if drawn.blur:
            view = blurred(view, drawn.blur)
        if drawn.solarize:
            view = solarized(view, SOLARIZE_FROM)
        if drawn.flip:
            view = flipped(view)
        return torch.from_numpy(np.ascontiguousarray(view.transpose(2, 0, 1)))


def _happens(probability: float) -> bool:
    return bool(torch.rand(1) < probability)
