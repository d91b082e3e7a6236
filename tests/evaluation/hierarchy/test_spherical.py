"""Spherical K-Means of pixels against the features of every pixel written out."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cast_exp.evaluation.hierarchy import spherical_levels


def plain(points, labels, count, iterations):
    """Labels (P,) of points (C, P) after so many rounds from the given ones."""
    for _ in range(iterations):
        scores = np.zeros((count, points.shape[1]))
        for k in np.unique(labels):
            prototype = points[:, labels == k].sum(1)
            scores[k] = prototype / np.linalg.norm(prototype) @ points
        labels = scores.argmax(0)
    return np.unique(labels, return_inverse=True)[1]


@pytest.mark.parametrize(("grid", "size"), [((3, 4), (24, 32)), ((5, 3), (37, 21))])
@pytest.mark.parametrize("counts", [(6, 3), (12, 5, 2), (1,)])
def test_levels_are_those_of_explicit_pixels(grid, size, counts):
    tokens = torch.randn(7, *grid, generator=torch.Generator().manual_seed(0)).double() + 0.3
    levels = spherical_levels(tokens.float(), size, counts, seed=[3, 1], iterations=8)

    rng = np.random.default_rng([3, 1])
    pixels = F.interpolate(tokens[None], size, mode="bilinear")[0].flatten(1).numpy()
    labels = plain(pixels, rng.integers(counts[0], size=size).ravel(), counts[0], 8)
    points = pixels
    expected = [labels]
    found = labels
    for count in counts[1:]:
        sums = [points[:, found == k].sum(1) for k in range(found.max() + 1)]
        points = np.stack([s / np.linalg.norm(s) for s in sums], 1)
        found = plain(points, rng.integers(count, size=points.shape[1]), count, 8)
        labels = found[labels]
        expected.append(labels)
    for level, other in zip(levels, expected, strict=True):
        assert level.shape == size
        assert (level.flatten().numpy() == other).mean() > 0.999  # but for ties by rounding


def test_levels_nest_and_depend_on_the_seed_alone():
    tokens = torch.randn(16, 6, 6, generator=torch.Generator().manual_seed(0))
    levels = spherical_levels(tokens, (48, 48), (12, 6, 3), seed=4)
    for fine, coarse in pairwise(levels):
        pairs = torch.stack([fine.flatten(), coarse.flatten()]).unique(dim=1)
        assert pairs.size(1) == len(fine.unique()) == int(fine.max()) + 1
    torch.manual_seed(1)
    again = spherical_levels(tokens, (48, 48), (12, 6, 3), seed=4)
    assert all(torch.equal(a, b) for a, b in zip(levels, again, strict=True))
    other = spherical_levels(tokens, (48, 48), (12, 6, 3), seed=5)
    assert not torch.equal(levels[0], other[0])
