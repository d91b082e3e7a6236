"""Label maps: their borders, numbering and sizes, and what stands for no label."""

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

VOID = 255
"""Label of pixels that nothing is known of, in maps of classes and objects."""

Labels = NDArray[Any]
"""Labels of any integer type."""
LabelMap = Tensor | Labels

Map = TypeVar("Map", Tensor, Labels)


def as_array(labels: LabelMap) -> Labels:
    """Labels of either kind as an array."""
    return labels.cpu().numpy() if isinstance(labels, Tensor) else labels


def contours(labels: Labels) -> NDArray[np.bool_]:
    """Pixels whose label differs from that of a 4-neighbour.

    Args:
        labels: Segmentations, int (..., H, W).

    Returns:
        bool (..., H, W); true on both sides of a border.
    """
    edge = np.zeros(labels.shape, dtype=np.bool_)
    vertical = labels[..., 1:, :] != labels[..., :-1, :]
    horizontal = labels[..., :, 1:] != labels[..., :, :-1]
    edge[..., 1:, :] |= vertical
    edge[..., :-1, :] |= vertical
    edge[..., :, 1:] |= horizontal
    edge[..., :, :-1] |= horizontal
    return edge


def compact(labels: Labels) -> NDArray[np.int64]:
    """Number the labels that occur from 0, in their order; the same shape."""
    occur = np.bincount(labels.ravel()) > 0
    return np.asarray((np.cumsum(occur) - 1)[labels])


def nearest(labels: Map, height: int, width: int) -> Map:
    """Bring maps to another size: each pixel takes the label at its centre.

    (The official release lets OpenCV round down instead, which moves labels by half a pixel.)

    Args:
        labels: Maps, array or tensor (..., H, W).
        height: The new height.
        width: The new width.
    """
    sizes = list(zip((height, width), labels.shape[-2:], strict=True))
    if isinstance(labels, Tensor):
        y, x = (
            (2 * torch.arange(new, device=labels.device) + 1) * old // (2 * new)
            for new, old in sizes
        )
        return labels[..., y[:, None], x]
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in sizes)
    return np.asarray(labels[..., rows[:, None], columns])


def one_hot(labels: Tensor, count: int) -> Tensor:
    """Whether each label is each of 0..count-1, bool (..., count).

    Unlike torch's function it never makes the host look at the labels.
    """
    return labels[..., None] == torch.arange(count, device=labels.device)


def shrunk_superpixels(full: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    """Bring superpixels 0..N-1 to another size at which each still has a pixel.

    One that vanishes takes the pixel nearest to its centroid of those that can spare one.

    Args:
        full: The superpixels (H, W), N at most height * width.
        height: The new height.
        width: The new width.
    """
    small = nearest(full, height, width)
    sizes = np.bincount(small.ravel(), minlength=full.max() + 1)
    scale = np.array([height, width]) / full.shape
    for vanished in np.flatnonzero(sizes == 0):
        y, x = (np.argwhere(full == vanished).mean(0) + 0.5) * scale - 0.5
        distance = (np.arange(height) - y)[:, None] ** 2 + (np.arange(width) - x) ** 2
        at = np.where(sizes[small] > 1, distance, np.inf).argmin()
        sizes[small.flat[at]] -= 1
        sizes[vanished] += 1
        small.flat[at] = vanished
    return small
