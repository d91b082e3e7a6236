"""K-Means and K-Medoids on the tokens of superpixels, level by level."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from cast_exp.ops import farthest_point_sampling, kmeans, kmedoids, segment_mean


@torch.no_grad()
def cluster_levels(
    points: Tensor,
    counts: Sequence[int],
    method: Literal["kmeans", "kmedoids"],
    iterations: int = 20,
) -> list[Tensor]:
    """Cluster points, then what stands for the clusters, and so on: the levels nest.

    The first centres are points far from each other, beginning with the first point, so nothing is
    left to chance. What stands for a cluster is its mean (K-Means) or its medoid (K-Medoids),
    however many points it has.

    Args:
        points: Features of superpixels, float (N, C).
        counts: Clusters at each level, fine to coarse; no level has more than the one before.
        method: How to cluster.
        iterations: Assignments of points to clusters at each level.

    Returns:
        Cluster of each point at each level, int64 (N,); no cluster is empty.
    """
    labels = torch.arange(len(points), device=points.device)
    levels = []
    for count in counts:
        number = min(count, len(points))
        valid = torch.ones(1, len(points), dtype=torch.bool, device=points.device)
        missing = torch.zeros(1, number, dtype=torch.bool, device=points.device)
        seeds = farthest_point_sampling(points[None], number, valid=valid)
        if method == "kmeans":
            found = kmeans(points[None], seeds, valid=valid, missing=missing, iterations=iterations)
            points = segment_mean(points[None], found, number)[0][0]
        else:
            found, medoids = kmedoids(
                points[None], seeds, valid=valid, missing=missing, iterations=iterations
            )
            points = points[medoids[0]]
        labels = found[0][labels]
        levels.append(labels)
    return levels
