"""Pooled interpolation: segment means of upsampled features, without upsampling them.

Interpolation and averaging are both linear, so the mean over a segment is a weighted sum of a few
grid cells. The weights of a row of pixels that lie between the same cells and in the same segment
add up to a difference of two prefix sums; what is left is one short weight vector for each block of
pixels and segment, and a sparse product with the grid.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Interpolation = Literal["bilinear", "bicubic"]


def pooled_interpolation(
    features: Tensor, segments: Tensor, count: int, mode: Interpolation = "bilinear"
) -> tuple[Tensor, Tensor]:
    """Mean over each segment of features interpolated to the size of the segment map.

    Equals `F.interpolate(features, (H, W), mode=mode, align_corners=False)` followed by a mean over
    the pixels of each segment, but needs memory for the grid and the segments only, not for
    H x W x C. Differentiable in the features. Computed in float32 (float64 for float64 features).

    Args:
        features: Feature grid, float (B, C, h, w).
        segments: Segment of each pixel, 0..count-1, int64 (B, H, W).
        count: Number of segments.
        mode: "bilinear" or "bicubic".

    Returns:
        Means (B, count, C), zero for empty segments, and sizes in pixels (B, count).
    """
    if features.dtype in (torch.float16, torch.bfloat16):
        features = features.float()
    batch, width, *grid = features.shape
    cells = features.permute(0, 2, 3, 1).reshape(-1, width)
    with torch.no_grad():
        weights, sizes = _weights(segments, count, (grid[0], grid[1]), mode, cells.dtype)
    with torch.autocast(features.device.type, enabled=False):
        sums = torch.sparse.mm(weights, cells)
    means = sums / sizes.clamp(min=1)[:, None]
    return means.view(batch, count, width), sizes.view(batch, count)


def _weights(
    segments: Tensor, count: int, grid: tuple[int, int], mode: Interpolation, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Sum over the pixels of each segment of their interpolation weights.

    Returns:
        Sums, sparse (B * count, B * h * w), and sizes of the segments in pixels (B * count,).
    """
    batch, height, width = segments.shape
    row_block, row_cells, row_weights = _taps(grid[0], height, mode, segments.device)
    column_block, column_cells, column_weights = _taps(grid[1], width, mode, segments.device)
    columns = int(column_block[-1]) + 1

    # Runs: pixels of a row in one block of columns and one segment.
    place = segments * columns + column_block
    begins = F.pad(place[..., 1:] != place[..., :-1], (1, 0), value=True)
    start = begins.flatten().nonzero()[:, 0]
    end = F.pad(start[1:], (0, 1), value=segments.numel())
    x = start % width
    y = start // width % height
    image = start // (width * height)
    prefix = F.pad(column_weights.cumsum(0), (0, 0, 1, 0))
    along = prefix[x + end - start] - prefix[x]
    run_weights = (row_weights[y, :, None] * along[:, None]).flatten(1).to(dtype)

    # Runs of one segment between the same cells share their cells: add them up.
    segment = image * count + segments.flatten()[start]
    sizes = torch.bincount(segment, end - start, minlength=batch * count).to(dtype)
    rows = int(row_block[-1]) + 1
    key = (segment * rows + row_block[y]) * columns + column_block[x]
    key, slot = torch.unique(key, return_inverse=True)
    block_weights = run_weights.new_zeros(len(key), run_weights.size(1))
    block_weights.index_add_(0, slot, run_weights)

    segment = key // (rows * columns)
    down = row_cells[key // columns % rows]
    across = column_cells[key % columns]
    cell = (down[:, :, None] * grid[1] + across[:, None]).flatten(1)
    cell += (segment // count * (grid[0] * grid[1]))[:, None]
    weights = torch.sparse_coo_tensor(
        torch.stack([segment[:, None].expand_as(cell).flatten(), cell.flatten()]),
        block_weights.flatten(),
        (batch * count, batch * grid[0] * grid[1]),
        check_invariants=False,
    )
    return weights.coalesce(), sizes


def _taps(
    size: int, full: int, mode: Interpolation, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """How one axis is interpolated from `size` cells to `full` pixels (corners not aligned).

    Returns:
        Block of each pixel, int64 (full,): pixels of a block lie between the same cells. Cells of
        each block, int64 (blocks, taps). Weights of each pixel, float64 (full, taps).
    """
    source = (torch.arange(full, device=device, dtype=torch.float64) + 0.5) * (size / full) - 0.5
    base = source.floor()
    t = source - base
    if mode == "bilinear":
        offsets = torch.arange(0, 2, device=device)
        weights = torch.stack([1 - t, t], 1)
    else:
        offsets = torch.arange(-1, 3, device=device)
        weights = torch.stack([_outer(t + 1), _inner(t), _inner(1 - t), _outer(2 - t)], 1)
    block, first = torch.unique_consecutive(base.long(), return_inverse=True)
    # At the border the outermost cell stands in for those beyond it.
    return first, (block[:, None] + offsets).clamp(0, size - 1), weights


_A = -0.75  # PyTorch's cubic convolution coefficient (Keys, 1981)


def _inner(x: Tensor) -> Tensor:
    return ((_A + 2) * x - (_A + 3)) * x * x + 1


def _outer(x: Tensor) -> Tensor:
    return ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
