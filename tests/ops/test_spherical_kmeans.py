"""Spherical K-Means against a plain loop."""

import numpy as np
import pytest
import torch

from cast_exp.ops import spherical_kmeans


def plain(points, labels, count, iterations, weights):
    """One point after the other."""
    points = [point / np.linalg.norm(point) for point in points]
    labels = list(labels)
    for _ in range(iterations):
        prototypes = [np.zeros_like(points[0]) for _ in range(count)]
        for point, label, weight in zip(points, labels, weights, strict=True):
            prototypes[label] = prototypes[label] + weight * point
        prototypes = [p / np.linalg.norm(p) if p.any() else p for p in prototypes]
        for i, point in enumerate(points):
            best = 0
            for k in range(1, count):
                if point @ prototypes[k] > point @ prototypes[best]:
                    best = k
            labels[i] = best
    return labels


@pytest.mark.parametrize(
    ("number", "channels", "count"), [(1, 3, 1), (9, 2, 4), (60, 5, 7), (200, 16, 36)]
)
@pytest.mark.parametrize("iterations", [0, 1, 8])
@pytest.mark.parametrize("weighted", [False, True])
def test_clusters_are_those_of_a_plain_loop(number, channels, count, iterations, weighted):
    rng = np.random.default_rng(number + iterations)
    points = rng.normal(size=(number, channels)) * rng.uniform(0.1, 10, size=(number, 1))
    labels = rng.integers(count, size=number)
    weights = rng.integers(1, 50, size=number) if weighted else np.ones(number, int)
    found = spherical_kmeans(
        torch.from_numpy(points),
        torch.from_numpy(labels),
        count,
        iterations=iterations,
        weights=torch.from_numpy(weights) if weighted else None,
    )
    assert found.tolist() == plain(points, labels, count, iterations, weights)


def test_weights_stand_for_repeated_points():
    generator = torch.Generator().manual_seed(0)
    points, labels = torch.randn(30, 4, generator=generator), torch.arange(30) % 5
    weights = torch.randint(1, 6, (30,), generator=generator)
    repeated = spherical_kmeans(
        points.repeat_interleave(weights, 0), labels.repeat_interleave(weights), 5, iterations=6
    )
    weighted = spherical_kmeans(points, labels, 5, iterations=6, weights=weights)
    assert torch.equal(weighted.repeat_interleave(weights), repeated)


def test_a_point_without_weight_moves_nothing():
    generator = torch.Generator().manual_seed(1)
    points, labels = torch.randn(20, 4, generator=generator), torch.arange(20) % 3
    weights = (torch.arange(20) < 15).float()
    found = spherical_kmeans(points, labels, 3, iterations=5, weights=weights)
    alone = spherical_kmeans(points[:15], labels[:15], 3, iterations=5)
    assert torch.equal(found[:15], alone)


def test_an_empty_cluster_is_the_zero_vector_and_takes_what_opposes_all_others():
    points = torch.tensor([[1.0, 0], [0.9, 0.1], [0.8, -0.1], [-0.1, 1]])
    labels = torch.tensor([0, 0, 0, 0])
    assert spherical_kmeans(points, labels, 3, iterations=1).tolist() == [0, 0, 0, 0]
    opposed = torch.cat([points, torch.tensor([[-1.0, 0]])])
    found = spherical_kmeans(opposed, torch.zeros(5, dtype=torch.long), 3, iterations=1)
    assert found.tolist() == [0, 0, 0, 0, 1]


def test_ties_go_to_the_lowest_label():
    points = torch.tensor([[1.0, 0], [1, 0], [1, 0]])
    assert spherical_kmeans(points, torch.tensor([2, 1, 1]), 3, iterations=1).tolist() == [1, 1, 1]
