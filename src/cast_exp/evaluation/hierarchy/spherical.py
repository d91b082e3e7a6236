"""Spherical K-Means on the upsampled tokens of a plain vision transformer, level by level."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.ops import Superpixels, interpolated_weights, segment_mean, spherical_kmeans


@torch.no_grad()
def spherical_levels(
    tokens: Tensor,
    size: tuple[int, int],
    counts: Sequence[int],
    seed: int | Sequence[int] = 0,
    iterations: int = 30,
) -> list[Tensor]:
    """Cluster the pixels of an image by their features, then the prototypes of the clusters.

    The features of pixels are the tokens, upsampled bilinearly. A prototype is the sum of the
    features of its members (not normalised), brought to length one; pixels go to the prototype of
    the largest scalar product. Levels after the first cluster the prototypes of the level before in
    the same way (`spherical_kmeans`), so the levels nest. All start from random labels. A cluster
    without members has a prototype of zeros; there may be fewer clusters than asked for in the end.

    No feature is computed for a pixel: interpolation commutes with sums and with products.

    Args:
        tokens: Tokens on their grid, float (C, h, w).
        size: Height and width of the image.
        counts: Clusters at each level at most, fine to coarse.
        seed: Seed of the labels to start from.
        iterations: Rounds of prototypes and assignments at each level.

    Returns:
        Cluster of each pixel at each level, int64 (H, W), numbered from 0 without gaps.
    """
    rng = np.random.default_rng(seed)
    labels = _random(rng, size, counts[0], tokens.device)
    for _ in range(iterations):
        prototypes = _prototypes(tokens, labels, counts[0])
        # With the channels last in memory, which makes the arg max several times faster.
        scores = (tokens[None].float().movedim(1, -1) @ prototypes.T).movedim(-1, 1)
        labels = F.interpolate(scores, size, mode="bilinear")[0].argmax(0)
    labels = _without_gaps(labels)
    levels = [labels]
    points = _prototypes(tokens, labels, int(labels.max()) + 1)
    for count in counts[1:]:
        start = _random(rng, (len(points),), count, points.device)
        found = _without_gaps(spherical_kmeans(points, start, count, iterations=iterations))
        points = F.normalize(segment_mean(points[None], found[None], int(found.max()) + 1)[0][0])
        labels = found[labels]
        levels.append(labels)
    return levels


def _prototypes(tokens: Tensor, labels: Tensor, count: int) -> Tensor:
    """Prototypes of clusters of pixels (count, C), zero for empty clusters."""
    grid = tokens.size(1), tokens.size(2)
    weights = interpolated_weights(Superpixels.of(labels[None], count), grid)
    return F.normalize(weights.mean(tokens.flatten(1).T.float())[0], dim=-1)


def _random(
    rng: np.random.Generator, shape: tuple[int, ...], count: int, device: torch.device
) -> Tensor:
    return torch.from_numpy(rng.integers(count, size=shape)).to(device)


def _without_gaps(labels: Tensor) -> Tensor:
    found: Tensor = torch.unique(labels, return_inverse=True)[1]
    return found
