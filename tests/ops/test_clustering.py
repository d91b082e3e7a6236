"""Clustering against plain loops, and scikit-learn-like behaviour on separated groups."""

import numpy as np
import pytest
import torch

from cast_exp.ops import kmeans, kmedoids


def plain(points, seeds, iterations, medoids):
    """One image, one point after the other."""
    centres = [points[s] for s in seeds]
    chosen = list(seeds)
    for step in range(iterations):
        labels = [int(np.argmin([np.linalg.norm(p - c) for c in centres])) for p in points]
        for k, s in enumerate(chosen):
            labels[s] = k
        if step == iterations - 1:
            break
        for k in range(len(seeds)):
            members = [i for i, label in enumerate(labels) if label == k]
            if medoids:
                cost = [
                    sum(np.linalg.norm(points[i] - points[j]) for j in members) for i in members
                ]
                chosen[k] = members[int(np.argmin(cost))]
                centres[k] = points[chosen[k]]
            else:
                centres[k] = points[members].mean(0)
    return labels, chosen


@pytest.mark.parametrize("medoids", [False, True])
@pytest.mark.parametrize(("number", "clusters"), [(5, 2), (20, 6), (31, 1), (8, 8)])
@pytest.mark.parametrize("iterations", [1, 4])
def test_clusters_are_those_of_a_plain_loop(number, clusters, iterations, medoids):
    rng = np.random.default_rng(number + clusters)
    points = rng.normal(size=(3, number, 4))
    seeds = np.stack([rng.permutation(number)[:clusters] for _ in range(3)])
    given = {
        "valid": torch.ones(3, number, dtype=torch.bool),
        "missing": torch.zeros(3, clusters, dtype=torch.bool),
        "iterations": iterations,
    }
    cluster = kmedoids if medoids else kmeans
    result = cluster(torch.from_numpy(points), torch.from_numpy(seeds), **given)
    for image in range(3):
        labels, chosen = plain(points[image], seeds[image], iterations, medoids)
        if medoids:
            assert result[0][image].tolist() == labels
            assert result[1][image].tolist() == chosen
        else:
            assert result[image].tolist() == labels


@pytest.mark.parametrize("cluster", [kmeans, lambda *a, **k: kmedoids(*a, **k)[0]])
def test_points_and_clusters_that_do_not_count_change_nothing(cluster):
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.normal(size=(1, 12, 4)))
    seeds = torch.tensor([[0, 3, 7]])
    alone = cluster(
        points,
        seeds,
        valid=torch.ones(1, 12, dtype=torch.bool),
        missing=torch.zeros(1, 3, dtype=torch.bool),
        iterations=5,
    )
    more = torch.cat([points, torch.full((1, 6, 4), 100.0)], 1)
    padded = cluster(
        more,
        torch.cat([seeds, torch.tensor([[14, 15]])], 1),
        valid=torch.arange(18)[None] < 12,
        missing=torch.arange(5)[None] >= 3,
        iterations=5,
    )
    assert padded[:, :12].tolist() == alone.tolist()
