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

from cast_exp.ops.segment_mean import check_labels, sum_type
from cast_exp.ops.sparse_product import sparse_product

Interpolation = Literal["bilinear", "bicubic"]


def pooled_interpolation(
    features: Tensor, segments: Tensor, count: int, mode: Interpolation = "bilinear"
) -> tuple[Tensor, Tensor]:
    """Mean over each segment of features interpolated to the size of the segment map.

    Equals `F.interpolate(features, (H, W), mode=mode, align_corners=False)` followed by a mean over
    the pixels of each segment, but needs memory for the grid and the segments only, not for
    H x W x C. Differentiable in the features. Computed in float32 (float64 for float64 features).

    Args:
        features: Feature grid, float (B, C, h, w), or (1, C, h, w) if all images share it.
        segments: Segment of each pixel, 0..count-1, int64 (B, H, W).
        count: Number of segments.
        mode: "bilinear" or "bicubic".

    Returns:
        Means (B, count, C), zero for empty segments, and sizes in pixels (B, count).

    Raises:
        ValueError: A label lies outside 0..count-1.
    """
    batch, (width, *grid) = len(segments), features.shape[1:]
    table = features.to(sum_type(features)).permute(0, 2, 3, 1).reshape(-1, width).contiguous()
    segment, cell, weights, sizes = _weights(segments, count, (grid[0], grid[1]), mode, table.dtype)
    if len(features) > 1:
        cell = cell + segment // count * (grid[0] * grid[1])
    # The terms come block by block, and the blocks segment by segment.
    sums = sparse_product(table, segment, cell, weights, batch * count, in_order=True)
    means = sums.view(batch, count, width) / sizes.clamp(min=1)[..., None]
    return means, sizes.to(means.dtype)


def _weights(
    segments: Tensor, count: int, grid: tuple[int, int], mode: Interpolation, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sum over the pixels of each segment of their interpolation weights.

    Returns:
        Segment, numbered through the batch, cell of the grid (both int64) and weight of each term
        of the sums (E,); sizes of the segments in pixels, int64 (B, count).
    """
    batch, height, width = segments.shape
    row_block, row_cells, row_sums = _taps(grid[0], height, mode, segments.device)
    column_block, column_cells, column_sums = _taps(grid[1], width, mode, segments.device)
    rows, columns = len(row_cells), len(column_cells)

    # Runs: pixels of a row in one block of columns and one segment.
    place = segments * columns + column_block
    begins = F.pad(place[..., 1:] != place[..., :-1], (1, 0), value=True)
    start = begins.flatten().nonzero()[:, 0]
    end = F.pad(start[1:], (0, 1), value=segments.numel())
    x, y = start % width, start // width % height
    across = (column_sums[x + end - start] - column_sums[x]).to(dtype)
    down = row_sums.diff(dim=0).to(dtype)[y]
    run_weights = (down[:, :, None] * across[:, None]).flatten(1)
    segment = segments.flatten()[start]
    check_labels(segment, count)
    segment = start // (height * width) * count + segment
    sizes = end.new_zeros(batch * count).index_add_(0, segment, end - start)

    # Runs of one segment between the same cells share their cells: add them up.
    block = (segment * rows + row_block[y]) * columns + column_block[x]
    block, slot = torch.unique(block, return_inverse=True)
    weights = sparse_product(
        run_weights, slot, torch.arange(len(slot), device=slot.device), None, len(block)
    )
    cells_down, cells_across = row_cells[block // columns % rows], column_cells[block % columns]
    cells = cells_down[:, :, None] * grid[1] + cells_across[:, None]
    segment = (block // (rows * columns)).repeat_interleave(weights.size(1))
    return segment, cells.flatten(), weights.flatten(), sizes.view(batch, count)


def _taps(
    size: int, full: int, mode: Interpolation, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """How one axis is interpolated from `size` cells to `full` pixels (corners not aligned).

    Returns:
        Block of each pixel, int64 (full,): pixels of a block lie between the same cells. Cells of
        each block, int64 (blocks, taps). Sums of the weights of the pixels before each one and
        before the end, float64 (full + 1, taps).
    """
    source = (torch.arange(full, dtype=torch.float64) + 0.5) * (size / full) - 0.5
    base = source.floor()
    if mode == "bilinear":
        offsets = torch.arange(0, 2)
        weights = 1 - ((source - base)[:, None] - offsets).abs()
    else:
        offsets = torch.arange(-1, 3)
        weights = _cubic(((source - base)[:, None] - offsets).abs())
    first, block = torch.unique_consecutive(base.long(), return_inverse=True)
    # At the border the outermost cell stands in for those beyond it.
    cells = (first[:, None] + offsets).clamp(0, size - 1)
    # Summed on the CPU: cumsum is not deterministic on a GPU.
    sums = F.pad(weights.cumsum(0), (0, 0, 1, 0))
    return block.to(device), cells.to(device), sums.to(device)


def _cubic(x: Tensor) -> Tensor:
    """Cubic convolution at distances 0..2 (Keys, 1981), with PyTorch's coefficient."""
    a = -0.75
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, far)
