"""K-Means and K-Medoids hierarchies against plain loops."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from cast_exp.evaluation.hierarchy import cluster_levels


def far_seeds(points, count):
    """Each the farthest from those before, beginning with the first."""
    chosen = [0]
    while len(chosen) < count:
        gaps = [min(np.linalg.norm(p - points[c]) for c in chosen) for p in points]
        chosen.append(max((g, -i) for i, g in enumerate(gaps) if i not in chosen)[1] * -1)
    return chosen


def one_level(points, count, medoids, iterations):
    """Cluster of each point, and what stands for the clusters."""
    chosen = far_seeds(points, count)
    centres = points[chosen]
    for step in range(iterations):
        labels = np.array([np.linalg.norm(p - centres, axis=1).argmin() for p in points])
        labels[chosen] = np.arange(count)
        groups = [np.flatnonzero(labels == k) for k in range(count)]
        if step == iterations - 1 and medoids:
            break
        if medoids:
            costs = [np.linalg.norm(points[g][:, None] - points[g], axis=-1).sum(1) for g in groups]
            chosen = [int(g[c.argmin()]) for g, c in zip(groups, costs, strict=True)]
            centres = points[chosen]
        else:
            centres = np.stack([points[g].mean(0) for g in groups])
    return labels, centres


@pytest.mark.parametrize("method", ["kmeans", "kmedoids"])
@pytest.mark.parametrize(
    ("number", "counts"), [(30, (12, 6, 3)), (9, (9, 4)), (17, (5, 1)), (1, (1,))]
)
@pytest.mark.parametrize("iterations", [1, 6])
def test_levels_are_those_of_a_plain_loop(method, number, counts, iterations):
    points = np.random.default_rng(number).normal(size=(number, 5)).astype(np.float32)
    levels = cluster_levels(torch.from_numpy(points), counts, method, iterations)
    labels = np.arange(number)
    for count, found in zip(counts, levels, strict=True):
        clusters, points = one_level(points, count, method == "kmedoids", iterations)
        labels = clusters[labels]
        assert found.tolist() == labels.tolist()


@pytest.mark.parametrize("method", ["kmeans", "kmedoids"])
def test_more_clusters_than_points_leave_each_alone(method):
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    levels = cluster_levels(points, (64, 32, 2), method)
    assert [len(level.unique()) for level in levels] == [6, 6, 2]


@pytest.mark.parametrize("method", ["kmeans", "kmedoids"])
def test_no_cluster_is_empty_even_of_equal_points(method):
    levels = cluster_levels(torch.ones(10, 4), (7, 3), method)
    assert [len(level.unique()) for level in levels] == [7, 3]


@pytest.mark.parametrize("method", ["kmeans", "kmedoids"])
def test_levels_nest_and_chance_plays_no_part(method):
    points = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    levels = cluster_levels(points, (64, 32, 16, 8), method)
    for fine, coarse in pairwise(levels):
        assert len(torch.stack([fine, coarse]).unique(dim=1).T) == len(fine.unique())
    torch.manual_seed(1)
    again = cluster_levels(points, (64, 32, 16, 8), method)
    assert all(torch.equal(a, b) for a, b in zip(levels, again, strict=True))
