"""Changes of pixels as Pillow and torchvision make them, to the bit, in a fraction of their time.

Images are RGB, uint8 (H, W, 3). Tables and OpenCV do what Pillow is slow at.
"""

from functools import cache
from math import floor, sqrt
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torchvision.transforms.v2 import functional as F

Pixels = NDArray[np.uint8]

_BOXES = 3  # make a blur
_LONGEST = 9  # filters that OpenCV computes directly


def brightness(image: Pixels, factor: float) -> Pixels:
    """As torchvision's `adjust_brightness`."""
    return _blended(image, 0, factor)


def contrast(image: Pixels, factor: float) -> Pixels:
    """As torchvision's `adjust_contrast`."""
    return _blended(image, int(_grey(image).mean() + 0.5), factor)


def saturation(image: Pixels, factor: float) -> Pixels:
    """As torchvision's `adjust_saturation`."""
    return np.asarray(F.adjust_saturation(Image.fromarray(image), factor))


def hue(image: Pixels, factor: float) -> Pixels:
    """As torchvision's `adjust_hue`, by way of Pillow's HSV of 8 bits."""
    turned, saturated, value = cv2.split(np.asarray(Image.fromarray(image).convert("HSV")))
    turned += np.uint8(int(factor * 255) & 255)
    place = cv2.merge([saturated, turned]).astype(np.int16)
    shares = cv2.remap(_shares_of_value(), place, cast(Any, None), cv2.INTER_NEAREST)
    found: Any = cv2.multiply(shares, cv2.cvtColor(value, cv2.COLOR_GRAY2RGB), dtype=cv2.CV_8U)
    return cast(Pixels, found)


def grey(image: Pixels) -> Pixels:
    """As torchvision's `rgb_to_grayscale` with three channels."""
    return cast(Pixels, cv2.cvtColor(_grey(image), cv2.COLOR_GRAY2RGB))


def blurred(image: Pixels, sigma: float) -> Pixels:
    """As Pillow's `GaussianBlur`, three box filters.

    Where the mean of a box is half a level, it may be rounded the other way: in a few pixels of one
    blur in a hundred, and in more where the weights are simple fractions, as for a deviation of 1.

    Args:
        image: The pixels.
        sigma: Standard deviation in pixels, above 0.
    """
    box = _box(sigma)
    if len(box) > _LONGEST:
        return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))
    for filtering in (box[None], box[:, None]):
        for _ in range(_BOXES):
            image = cast(
                Pixels, cv2.filter2D(image, -1, filtering, borderType=cv2.BORDER_REPLICATE)
            )
    return image


def solarized(image: Pixels, threshold: int) -> Pixels:
    """As torchvision's `solarize`: pixels from the threshold on are inverted."""
    values = np.arange(256)
    return _looked_up(image, np.where(values < threshold, values, 255 - values))


def flipped(image: Pixels) -> Pixels:
    """As torchvision's `horizontal_flip`."""
    return cast(Pixels, cv2.flip(image, 1))


def _grey(image: Pixels) -> Pixels:
    """Pillow's grey, (H, W)."""
    return np.asarray(Image.fromarray(image).convert("L"))


def _blended(image: Pixels, value: int, factor: float) -> Pixels:
    """A mix of an image with one grey value, by what Pillow's `blend` makes of each value."""
    values = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    return _looked_up(
        image, np.asarray(Image.blend(Image.new("L", (256, 1), value), values, factor))
    )


def _looked_up(image: Pixels, table: NDArray[Any]) -> Pixels:
    return cast(Pixels, cv2.LUT(image, table.ravel().astype(np.uint8)))


def _box(sigma: float) -> NDArray[np.float32]:
    """Weights of the box filters that Pillow makes a blur of."""
    variance = sigma**2 / _BOXES  # of each
    whole = floor((sqrt(12 * variance + 1) - 1) / 2)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    part /= 6 * (variance - (whole + 1) ** 2)
    weights = np.ones(2 * whole + 3)
    weights[[0, -1]] = part
    return (weights / (2 * (whole + part) + 1)).astype(np.float32)


@cache
def _shares_of_value() -> NDArray[np.float32]:
    """What share of its value each channel has of Pillow's HSV: float32 (256, 256, 3).

    By hue and saturation, computed in the precision of Pillow.
    """
    hues, saturations = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    saturated = (saturations / 255).astype(np.float32).astype(np.float64)
    place = hues * 6.0 / 255
    sextant = np.floor(place).astype(np.int64)
    part = (place - sextant).astype(np.float32)
    full, low = np.ones((256, 256)), 1 - saturated
    falling, rising = 1 - saturated * part, 1 - saturated * (1 - part.astype(np.float64))
    channels = (
        (full, falling, low, low, rising, full),
        (rising, full, full, falling, low, low),
        (low, low, rising, full, full, falling),
    )
    shares = [np.choose(sextant % 6, channel) for channel in channels]
    return np.stack(shares, axis=-1).astype(np.float32)
