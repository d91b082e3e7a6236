"""Farthest point sampling: points that lie far from each other."""

import torch
from torch import Tensor

# Below this share of the points' squared norms, a squared distance from inner products is mostly
# rounding error and is computed again from differences.
_TRUSTED = 1e-9


@torch.no_grad()
def farthest_point_sampling(
    points: Tensor, count: int, *, first: int = 0, valid: Tensor | None = None
) -> Tensor:
    """Choose points one by one, each the farthest from those chosen before.

    Distances are Euclidean and computed in float64; ties go to the lowest index. One matrix product
    gives those of all pairs (2 B N^2 C flops, 8 B N^2 bytes), after which a choice costs two passes
    over N numbers instead of one over N x C.

    Args:
        points: Points, float (B, N, C).
        count: How many to choose.
        first: Index of the first one.
        valid: Points that may be chosen, bool (B, N). With it, no invalid point and none twice is
            chosen while a valid one is left, and distances that agree in float32 tie. Without it,
            index 0 is repeated once every distance is zero.

    Returns:
        Indices in the order of choice, int64 (B, count).
    """
    points = points.double()
    batch = points.size(0)
    squared = _squared_distances(points)
    image = torch.arange(batch, device=points.device)
    chosen = torch.full((batch, count), first, device=points.device)
    distance = squared[:, first].clone()
    if valid is not None:
        # In float64 a tie (two points and their mean) would be decided by rounding errors.
        squared, distance = squared.float(), distance.float().masked_fill(~valid, -2)
    for step in range(count):
        if step:
            chosen[:, step] = distance.argmax(1)
            distance = torch.minimum(distance, squared[image, chosen[:, step]])
        if valid is not None:
            taken = chosen[:, step, None]
            distance.scatter_(1, taken, distance.gather(1, taken).clamp(max=-1))
    return chosen


def _squared_distances(points: Tensor) -> Tensor:
    """Squared distances of all pairs (B, N, N); exactly zero between duplicates."""
    products = points @ points.transpose(1, 2)
    norms = products.diagonal(dim1=1, dim2=2)
    scale = norms[:, :, None] + norms[:, None]
    squared = scale - 2 * products
    image, i, j = (squared < _TRUSTED * scale).nonzero(as_tuple=True)
    squared[image, i, j] = (points[image, i] - points[image, j]).square().sum(-1)
    if len(image) > squared.size(0) * squared.size(1):  # more than each point with itself
        # Duplicates must tie exactly, but a product may round them differently.
        twin = (squared == 0).int().argmax(-1)
        squared = squared.gather(1, twin[:, :, None].expand_as(squared))
        squared = squared.gather(2, twin[:, None].expand_as(squared))
    return squared
