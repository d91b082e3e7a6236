"""Farthest point sampling: points that lie far from each other."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor


@torch.no_grad()
def farthest_point_sampling(
    points: Tensor, count: int, *, first: int = 0, valid: Tensor | None = None
) -> Tensor:
    """Choose points one by one, each the farthest from those chosen before.

    Distances are Euclidean and computed in float64; ties go to the lowest index. They come
    from scalar products. Where the rounding errors of those could decide a choice (duplicates, say)
    the image is done again with distances from differences, so the choice is always that of the
    plain loop over distances.

    Args:
        points: Points, float (B, N, C).
        count: How many to choose.
        first: Index of the first one.
        valid: Points that may be chosen, bool (B, N). With it, no invalid point and none twice is
            chosen while a valid one is left, and squared distances that agree in float32 tie; the
            first valid point stands in for an invalid `first`. Without it, index 0 is repeated once
            every distance is zero.

    Returns:
        Indices in the order of choice, int64 (B, count).

    Raises:
        ValueError: `count` is below 1, or `first` is not the index of a point.
    """
    batch, number, width = points.shape
    if count < 1 or not 0 <= first < number:
        raise ValueError(f"cannot choose {count} of {number} points, starting with index {first}")
    points = points.double()
    start = torch.full((batch,), first, device=points.device)
    nearest = points.new_full((batch, number), torch.inf)
    taken = 0.0
    if valid is not None:
        taken = -1.0
        start = torch.where(valid[:, first], start, valid.int().argmax(1))
        # In float64 a tie (two points and their mean) would be decided by rounding errors.
        nearest = nearest.float().masked_fill(~valid, -2)

    norms = points.square().sum(-1)
    distances_from = partial(_products, points, norms)
    if number <= 4 * count:  # beyond that, most of the pairs would go unused
        pairs = torch.baddbmm(norms[:, :, None] + norms[:, None], points, points.mT, alpha=-2)
        distances_from = partial(_row, pairs.clamp_(min=0))
    chosen, lead = _choose(distances_from, nearest, start, count, taken)
    # Bounds the rounding errors of two distances by products and of two by differences.
    error = 16 * (width + 2) * torch.finfo(torch.float64).eps * norms.amax(1)
    unsure = ~(lead > error)
    if unsure.any():
        exact = partial(_differences, points[unsure])
        chosen[unsure] = _choose(exact, nearest[unsure], start[unsure], count, taken)[0]
    return chosen


def _row(matrices: Tensor, index: Tensor) -> Tensor:
    """Take a row of each matrix (B, N, ...)."""
    return matrices[torch.arange(len(index), device=index.device), index]


def _products(points: Tensor, norms: Tensor, index: Tensor) -> Tensor:
    """Squared distances (B, N) of all points from one of each image, by scalar products."""
    products = (points @ _row(points, index)[..., None])[..., 0]
    return torch.add(norms, products, alpha=-2).add_(_row(norms, index)[:, None]).clamp_(min=0)


def _differences(points: Tensor, index: Tensor) -> Tensor:
    """Squared distances (B, N) of all points from one of each image."""
    return (points - _row(points, index)[:, None]).square().sum(-1)


def _choose(
    distances_from: Callable[[Tensor], Tensor],
    nearest: Tensor,
    latest: Tensor,
    count: int,
    taken: float,
) -> tuple[Tensor, Tensor]:
    """Choose points, and say by how much the closest choice was won.

    Args:
        distances_from: Gives the squared distances (B, N) from a point (B,) of each image.
        nearest: Infinity, or -2 where a point is invalid, (B, N), in the type to compare in.
        latest: First points, int64 (B,).
        count: How many to choose.
        taken: Distance given to a chosen point; below zero it is not chosen twice.

    Returns:
        Indices (B, count), and the smallest lead over a runner-up beyond rounding (B,).
    """
    chosen, distances, runners_up = [latest], [], []
    nearest = nearest.scatter(1, latest[:, None], taken)
    for _ in range(count - 1):
        nearest = torch.minimum(nearest, distances_from(latest).to(nearest.dtype))
        distance, latest = nearest.max(1)
        nearest.scatter_(1, latest[:, None], taken)
        chosen.append(latest)
        distances.append(distance)
        runners_up.append(nearest.amax(1))
    if not distances:
        return latest[:, None], torch.full_like(nearest[:, 0], torch.inf)
    best = torch.stack(distances, 1)
    lead = best * (1 - 2 * torch.finfo(best.dtype).eps) - torch.stack(runners_up, 1)
    return torch.stack(chosen, 1), lead.masked_fill_(best < 0, torch.inf).amin(1)
