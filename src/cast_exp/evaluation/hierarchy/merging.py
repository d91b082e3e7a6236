"""Superpixels merged by colour: a classical floor, which has learned nothing."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def merge_levels(image: Tensor, superpixels: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """Merge neighbouring superpixels of similar colour, two at a time.

    Next merged are always those neighbours whose merger adds least to the squared deviations of the
    colours (CIELAB) from the means of their segments: Ward's criterion on the region adjacency
    graph. Ties go to the lowest labels.

    Args:
        image: RGB, float (3, H, W) in 0..1.
        superpixels: Labels 0..N-1, each with a pixel, int64 (H, W).
        counts: Segments at each level, fine to coarse; no level has more than the one before.

    Returns:
        Segment of each superpixel at each level, int64 (N,), numbered from 0 without gaps.
    """
    pixels = image.float().clamp(0, 1).permute(1, 2, 0).contiguous().cpu().numpy()
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float64)
    labels = superpixels.cpu().numpy()
    sizes = np.bincount(labels.ravel()).astype(np.float64)
    sums = np.stack([np.bincount(labels.ravel(), channel) for channel in lab.T], 1)
    levels = _merge(sums / sizes[:, None], sizes, _neighbours(labels, len(sizes)), counts)
    return [torch.from_numpy(level) for level in levels]


def _merge(
    colours: NDArray[np.float64],
    sizes: NDArray[np.float64],
    neighbours: NDArray[np.bool_],
    counts: Sequence[int],
) -> list[NDArray[np.int64]]:
    # Symmetric, and infinite for what cannot be merged.
    costs = np.where(neighbours, _costs(colours[:, None], sizes[:, None], colours, sizes), np.inf)
    segments = np.arange(len(sizes))
    remaining = len(sizes)
    levels = []
    for count in counts:
        while remaining > count:
            kept, gone = divmod(int(costs.argmin()), len(sizes))  # kept < gone: rows come first
            weights = sizes[[kept, gone]] / (sizes[kept] + sizes[gone])
            colours[kept] = weights @ colours[[kept, gone]]
            sizes[kept] += sizes[gone]
            neighbours[kept] |= neighbours[gone]
            neighbours[:, kept] |= neighbours[:, gone]
            neighbours[kept, kept] = False
            neighbours[gone] = neighbours[:, gone] = False
            costs[gone] = costs[:, gone] = np.inf
            row = np.where(
                neighbours[kept], _costs(colours[kept], sizes[kept], colours, sizes), np.inf
            )
            costs[kept] = costs[:, kept] = row
            segments[segments == gone] = kept
            remaining -= 1
        levels.append(np.unique(segments, return_inverse=True)[1].astype(np.int64))
    return levels


def _neighbours(labels: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Which superpixels touch, by 4-neighbours: bool (count, count)."""
    touching = np.zeros((count, count), dtype=np.bool_)
    touching[labels[1:], labels[:-1]] = True
    touching[labels[:, 1:], labels[:, :-1]] = True
    touching |= touching.T
    np.fill_diagonal(touching, False)
    return touching


def _costs(
    colour: NDArray[np.float64],
    size: NDArray[np.float64],
    colours: NDArray[np.float64],
    sizes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What merging one segment with others adds to the squared deviations."""
    distance = np.square(colour - colours).sum(-1)
    return np.asarray(size * sizes / (size + sizes) * distance)
