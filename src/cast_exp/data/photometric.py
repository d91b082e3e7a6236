"""What Segmenter's recipe does with colours."""

import cv2
import numpy as np
from numpy.typing import NDArray

from cast_exp.data.transforms import IMAGENET_MEAN, IMAGENET_STD

Pixels = NDArray[np.uint8]


def distorted(image: Pixels, random: np.random.Generator) -> Pixels:
    """Distort brightness, contrast, saturation and hue, each with probability 1/2 (SSD).

    Brightness changes by up to 32 of 256 levels, contrast and saturation by factors of 0.5 to 1.5,
    hue by up to 18 of 180 levels; contrast comes first or last, with probability 1/2 each.
    Intermediate results have 8 bits. The numbers are those of mmsegmentation.

    Args:
        image: RGB, uint8 (H, W, 3).
        random: Draws.
    """
    if random.random() < 0.5:
        image = _scaled(image, 1.0, random.uniform(-32, 32))
    last = random.random() < 0.5
    if not last:
        image = _contrast(image, random)
    if random.random() < 0.5:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 1] = _scaled(np.asarray(hsv[..., 1], np.uint8), random.uniform(0.5, 1.5), 0)
        image = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
    if random.random() < 0.5:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(np.int64) + random.integers(-18, 18)) % 180
        image = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
    return _contrast(image, random) if last else image


def _contrast(image: Pixels, random: np.random.Generator) -> Pixels:
    return _scaled(image, random.uniform(0.5, 1.5), 0) if random.random() < 0.5 else image


def _scaled(values: Pixels, factor: float, shift: float) -> Pixels:
    scaled = np.clip(values * np.float32(factor) + np.float32(shift), 0, 255)
    return np.asarray(scaled, np.uint8)


def outline_values(inverted: bool) -> Pixels:
    """Value that each value of each channel has where superpixels are computed, uint8 (3, 256).

    Args:
        inverted: As in the official release for Segmenter, which undoes the normalisation, cuts the
            values to 8 bits and multiplies them by 255 in 8 bits: v becomes 256 - v, and 0 stays.
    """
    values = np.arange(256, dtype=np.uint8)
    if not inverted:
        return np.stack([values] * 3)
    mean, std = (np.round(255 * np.array(x), 2)[None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    pixels = np.stack([values] * 3, -1)[None].astype(np.float32)
    normalised = cv2.multiply(cv2.subtract(pixels, mean), 1 / std)[0]
    cut = (normalised * std.astype(np.float32) + mean.astype(np.float32)).astype(np.uint8)
    return np.asarray(cut.T * np.uint8(255), np.uint8)
