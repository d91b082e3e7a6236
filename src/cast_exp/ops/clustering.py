"""Clustering of the tokens of each image, from given seeds."""

import torch
from torch import Tensor

from cast_exp.ops.exporting import exporting
from cast_exp.ops.labels import one_hot

# By differences: a matrix product would round the distance of two points differently from either.
_EXACT = "donot_use_mm_for_euclid_dist"


@torch.no_grad()
def kmeans(
    points: Tensor, seeds: Tensor, *, valid: Tensor, missing: Tensor, iterations: int
) -> Tensor:
    """Lloyd's algorithm: assign points to the nearest centre, move centres to the mean, repeat.

    Args:
        points: Points, float (B, N, C).
        seeds: Points that are the first centres, int64 (B, K), all different. A seed stays in its
            cluster, so that none gets empty.
        valid: Points that count, bool (B, N).
        missing: Clusters that do not exist, bool (B, K).
        iterations: Assignments.

    Returns:
        Cluster of each point, int64 (B, N); means nothing where a point is not valid.
    """
    points = points.float()
    centres = points.gather(1, seeds[..., None].expand(-1, -1, points.size(-1)))
    for step in range(iterations):
        labels = _nearest(_distances(points, centres), seeds, missing)
        if step < iterations - 1:
            members = one_hot(labels, seeds.size(1)) & valid[..., None]
            sums = members.transpose(1, 2).to(points.dtype) @ points
            centres = sums / members.sum(1).clamp(min=1)[..., None]
    return labels


@torch.no_grad()
def kmedoids(
    points: Tensor, seeds: Tensor, *, valid: Tensor, missing: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Alternate between assigning points to the nearest medoid and choosing medoids anew.

    A cluster's medoid is the member with the least sum of (Euclidean) distances to the others; ties
    go to the lowest index.

    Args:
        points: See `kmeans`, as the other arguments.

    Returns:
        Cluster of each point, int64 (B, N), and the medoids they belong to, int64 (B, K).
    """
    points = points.float()
    distances = _distances(points, points)
    medoids = seeds
    for step in range(iterations):
        nearby = distances.gather(2, medoids[:, None].expand(-1, points.size(1), -1))
        labels = _nearest(nearby, medoids, missing)
        if step < iterations - 1:
            together = (labels[:, :, None] == labels[:, None]) & valid[:, None]
            cost = (distances * together).sum(2)
            members = one_hot(labels, seeds.size(1)) & valid[..., None]
            costs = cost[..., None].masked_fill(~members, torch.inf)
            medoids = torch.where(missing, medoids, costs.argmin(1))
    return labels, medoids


def _distances(points: Tensor, others: Tensor) -> Tensor:
    if exporting():  # ONNX has no cdist
        distances: Tensor = (points[:, :, None] - others[:, None]).norm(dim=-1)
        return distances
    return torch.cdist(points, others, compute_mode=_EXACT)


def _nearest(distances: Tensor, seeds: Tensor, missing: Tensor) -> Tensor:
    """Nearest cluster (B, N) by distances (B, N, K); each seed is its own cluster's."""
    labels = distances.masked_fill(missing[:, None], torch.inf).argmin(-1)
    clusters = torch.arange(seeds.size(1), device=seeds.device).expand_as(seeds)
    own = torch.where(missing, labels.gather(1, seeds), clusters)
    return labels.scatter(1, seeds, own)
