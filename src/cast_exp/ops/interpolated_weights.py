"""Weights for the means over superpixels of upsampled features, without upsampling them.

Interpolation and averaging are both linear, so the mean over a superpixel is a weighted sum of a
few grid cells, and the weight of a cell is the sum of what it counts for in each pixel.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.ops.exporting import exporting
from cast_exp.ops.pooling_weights import PoolingWeights, Terms
from cast_exp.ops.sparse_product import sparse_product
from cast_exp.ops.superpixels import Superpixels

Interpolation = Literal["bilinear", "bicubic"]

_UNIT = 2.0**-30  # of weights that are summed as integers: room for 2**32 pixels


def interpolated_weights(
    superpixels: Superpixels,
    grid: tuple[int, int],
    mode: Interpolation = "bilinear",
    dense: bool = False,
) -> PoolingWeights:
    """Weights of grid cells in the means of features interpolated to the size of the map.

    `interpolated_weights(superpixels, (h, w), mode).mean(features)` equals
    `F.interpolate(features, (H, W), mode=mode, align_corners=False)` followed by a mean over the
    pixels of each superpixel, but never makes H x W x C features: terms need memory for the grid
    and the superpixels, a matrix 12 bytes for each superpixel and cell while it is made. A label
    without pixels is empty.

    Args:
        superpixels: Superpixels of the batch.
        grid: Rows and columns of the feature grid, whose cells are numbered row by row.
        mode: "bilinear" or "bicubic".
        dense: Make a matrix on the CPU too; what is exported always has one.
    """
    labels, count, sizes = superpixels.map, superpixels.count, superpixels.sizes
    empty = sizes == 0
    if dense or exporting() or labels.device.type != "cpu":
        matrix = _matrix(labels, count, grid, mode)
        return PoolingWeights.of_matrix(matrix, sizes, empty)
    terms = Terms(*_terms(labels, count, *grid, mode))
    return PoolingWeights(terms, sizes.clamp(min=1).float(), empty)


def _matrix(labels: Tensor, count: int, grid: tuple[int, int], mode: str) -> Tensor:
    """Sum over the pixels of each label of their weights, float32 (B, count, cells).

    The sums are of integers, the same in any order, and so on every run on a GPU.
    """
    batch, height, width = labels.shape
    cells, device = grid[0] * grid[1], labels.device
    row, down = _taps(grid[0], height, mode, torch.float32, device)
    column, across = _taps(grid[1], width, mode, torch.float32, device)
    images = count * torch.arange(batch, device=device)[:, None, None]
    begins = (images + labels) * cells
    units = labels.new_zeros(batch * count * cells)
    for rows, y in zip(row.unbind(1), down.unbind(1), strict=True):
        for columns, x in zip(column.unbind(1), across.unbind(1), strict=True):
            places = begins + (rows[:, None] * grid[1] + columns)
            amounts = (y[:, None] * x / _UNIT).round().long().expand_as(labels)
            units.scatter_add_(0, places.flatten(), amounts.flatten())
    return units.view(batch, count, cells).float() * _UNIT


@torch.library.custom_op("cast_exp::interpolation_terms", mutates_args=())
def _terms(
    labels: Tensor, count: int, grid_rows: int, grid_columns: int, mode: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The same as `Terms`, on the CPU.

    The weights of a row of pixels that lie between the same cells and have the same label add up to
    a difference of two prefix sums; what is left is one short weight vector for each block of
    pixels and label.
    """
    _, height, width = labels.shape
    row_block, row_cells, row_weights = _blocks(grid_rows, height, mode)
    column_block, column_cells, column_weights = _blocks(grid_columns, width, mode)
    column_sums = F.pad(column_weights.cumsum(0), (0, 0, 1, 0))
    rows, columns = len(row_cells), len(column_cells)

    # Runs: pixels of a row in one block of columns and with one label.
    place = labels * columns + column_block
    begins = F.pad(place[..., 1:] != place[..., :-1], (1, 0), value=True)
    start = begins.flatten().nonzero()[:, 0]
    end = F.pad(start[1:], (0, 1), value=labels.numel())
    x, y = start % width, start // width % height
    across = (column_sums[x + end - start] - column_sums[x]).float()
    run_weights = (row_weights.float()[y][:, :, None] * across[:, None]).flatten(1)
    owner = start // (height * width) * count + labels.flatten()[start]

    # Runs of one label between the same cells share their cells: add them up.
    block = (owner * rows + row_block[y]) * columns + column_block[x]
    block, slot = torch.unique(block, return_inverse=True)
    weights = sparse_product(run_weights, slot, torch.arange(len(slot)), None, len(block))
    down, across = row_cells[block // columns % rows], column_cells[block % columns]
    cells = down[:, :, None] * grid_columns + across[:, None]
    # The blocks are in the order of their labels.
    owner = (block // (rows * columns)).repeat_interleave(weights.size(1))
    return owner, cells.flatten(), weights.flatten()


@_terms.register_fake
def _shapes(
    labels: Tensor, count: int, grid_rows: int, grid_columns: int, mode: str
) -> tuple[Tensor, Tensor, Tensor]:
    size = torch.library.get_ctx().new_dynamic_size()
    owner, cells = labels.new_empty(size), labels.new_empty(size)
    return owner, cells, labels.new_empty(size, dtype=torch.float32)


def _blocks(size: int, full: int, mode: str) -> tuple[Tensor, Tensor, Tensor]:
    """Block of each pixel of one axis, int64 (full,), cells of the blocks, int64 (blocks, taps).

    Pixels of a block lie between the same cells. Also the weights of the pixels, float64
    (full, taps).
    """
    cells, weights = _taps(size, full, mode, torch.float64, torch.device("cpu"))
    starts = F.pad((cells[1:] != cells[:-1]).any(1), (1, 0), value=True)
    return starts.cumsum(0) - 1, cells[starts], weights


def _taps(
    size: int, full: int, mode: str, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """How one axis is interpolated from `size` cells to `full` pixels (corners not aligned).

    Returns:
        Cells that each pixel reads, int64 (full, taps), and their weights, `dtype` (full, taps).
    """
    # Places of the pixels, in cells, are integers over 2 * full: so no device needs float64.
    place = (2 * torch.arange(full, device=device) + 1) * size - full
    base = place // (2 * full)
    ahead = (place - base * (2 * full)).to(dtype) / (2 * full)
    first, last = (0, 1) if mode == "bilinear" else (-1, 2)
    offsets = torch.arange(first, last + 1, device=device)
    distance = (ahead[:, None] - offsets).abs()
    weights = 1 - distance if mode == "bilinear" else _cubic(distance)
    # At the border the outermost cell stands in for those beyond it.
    return (base[:, None] + offsets).clamp(0, size - 1), weights


def _cubic(x: Tensor) -> Tensor:
    """Cubic convolution at distances 0..2 (Keys, 1981), with PyTorch's coefficient."""
    a = -0.75
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, far)
