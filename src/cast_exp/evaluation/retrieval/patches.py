"""Segments of a ViT: spherical K-Means of its upsampled features (paper, appendix A.9)."""

import math
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn import functional as F

from cast_exp.ops import spherical_kmeans


def _square(count: int) -> int:
    if math.isqrt(count) ** 2 != count:
        raise ValueError("clustering starts from equal squares: a square number such as 36")
    return count


SquareNumber = Annotated[int, Field(ge=1), AfterValidator(_square)]
"""A number of segments that `cluster_patches` can make."""

_ITERATIONS = 15
_ROWS = 32  # of pixels, upsampled at a time


@torch.no_grad()
def cluster_patches(
    grid: Tensor, stride: int, size: tuple[int, int], clusters: int
) -> tuple[Tensor, Tensor]:
    """Segment an image by the features of its patches and by place.

    Features are upsampled bilinearly and get unit length; the place of a pixel, -0.5 to 0.5
    downwards and across, is appended, and the whole is clustered in 15 iterations, from squares of
    equal size. Pixels of the padding are left out. This is the one place that needs features of
    pixels: (D + 2) floats for each.

    Args:
        grid: Unit features of the patches of the padded, square image, float (h, w, D).
        stride: Side of a patch in pixels.
        size: Height and width of the image without padding.
        clusters: Number of segments, a square number.

    Returns:
        Segment of each pixel, int64 (height, width), and sums of the unit features of the pixels in
        each, without place, float (clusters, D).
    """
    height, width = size
    side, dim = stride * grid.size(0), grid.size(2)
    weights = _upsampling(grid.size(0), side).to(grid)
    places = torch.linspace(-0.5, 0.5, side, device=grid.device)
    points = grid.new_empty(height, width, dim + 2)
    across = weights[:width] @ grid  # (h, width, D)
    for start in range(0, height, _ROWS):
        rows = slice(start, min(start + _ROWS, height))
        pixels = (weights[rows] @ across.flatten(1)).view(-1, width, dim)
        points[rows, :, :dim] = F.normalize(pixels, dim=2)
    points[..., dim] = places[:height, None]
    points[..., dim + 1] = places[:width]
    points = points.flatten(0, 1)

    squares = math.isqrt(clusters)
    steps = torch.linspace(0, squares - 1, side, device=grid.device).round().long()
    labels = (steps[:height, None] + squares * steps[:width]).flatten()
    labels = spherical_kmeans(points, labels, clusters, iterations=_ITERATIONS)
    members = F.one_hot(labels, clusters).to(points.dtype)
    return labels.view(size), members.T @ points[:, :dim]


def _upsampling(patches: int, pixels: int) -> Tensor:
    """Weight of each patch of a row in each of its pixels, float (pixels, patches)."""
    return F.interpolate(torch.eye(patches)[None], pixels, mode="linear")[0].T
