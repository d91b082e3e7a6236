"""Pictures drawn for tests, with the segments they were drawn from."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def shapes(
    height: int, width: int, seed: int = 0, count: int = 8
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Shaded, slightly noisy discs on a shaded ground: RGB (H, W, 3) and its segments (H, W)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    segments = np.zeros((height, width), np.int32)
    for segment in range(1, count):
        centre = random.uniform(0, height), random.uniform(0, width)
        radius = random.uniform(0.1, 0.3) * min(height, width)
        segments[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2] = segment
    image = random.uniform(40, 200, (count, 3))[segments]
    image += 40 * (y / height - x / width)[..., None] + random.normal(0, 4, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), segments


def batch(*pixels: NDArray[np.uint8]) -> Tensor:
    """Images as the loader hands them over: float (B, 3, H, W) in 0..1."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255


def pieces(labels: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Label and area of every 4-connected piece, by OpenCV's flood fill."""
    found = []
    for label in np.unique(labels):
        count, _, stats, _ = cv2.connectedComponentsWithStats(
            (labels == label).astype(np.uint8), connectivity=4
        )
        found += [(int(label), int(stats[i, cv2.CC_STAT_AREA])) for i in range(1, count)]
    return found
