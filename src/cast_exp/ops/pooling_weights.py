"""Means of features over superpixels, as products with weights that are made once per view."""

from typing import NamedTuple

import torch
from torch import Tensor

from cast_exp.ops.exporting import exporting
from cast_exp.ops.segment_mean import sum_type
from cast_exp.ops.sparse_product import sparse_product
from cast_exp.ops.superpixels import Superpixels


class Terms(NamedTuple):
    """Terms of sums over superpixels, ordered by superpixel.

    Attributes:
        rows: Superpixel that a term adds to, numbered through the batch, int64 (E,).
        columns: Cell of the grid that it reads, int64 (E,).
        values: Its weight, float32 (E,).
    """

    rows: Tensor
    columns: Tensor
    values: Tensor


class PoolingWeights(NamedTuple):
    """How much each cell of a feature grid counts in the mean of each superpixel.

    Made once for a batch, and good for any features on the grid: those of both encoders, and
    position codes. On the CPU the weights are sparse; elsewhere they are a matrix, whose product
    with the features is fast, never waits for the device and is the same on every run.

    Attributes:
        weights: Matrix, float32 (B, N, cells), or terms of sums.
        sizes: What the weighted sums are divided by, float32 (B, N).
        empty: True where the mean is of nothing, and zero, bool (B, N).
    """

    weights: Tensor | Terms
    sizes: Tensor
    empty: Tensor

    @classmethod
    def of_matrix(cls, matrix: Tensor, sizes: Tensor, empty: Tensor) -> "PoolingWeights":
        """Weights from the sums over pixels or cells (B, N, cells) and the sizes of superpixels."""
        # Division by a power of two is exact, and keeps sums within the range of float16.
        power = sizes.float().clamp(min=1).log2().floor().exp2()
        return cls(matrix / power[..., None], sizes.clamp(min=1) / power, empty)

    def mean(self, features: Tensor) -> Tensor:
        """Average features inside each superpixel, whatever autocast is on.

        Sums are accumulated in float32 (float64 for float64 features). With a matrix, features of
        half precision are multiplied as they are: each sum is rounded to their type once, before
        the division, and so are the weights, which changes only those of `interpolated_weights`.
        TF32 is used for float32 features only if PyTorch is set to.

        Args:
            features: Float (B, cells, C), or (1, cells, C) or (cells, C) if all images share them.

        Returns:
            Means (B, N, C), float32 (float64 for float64 features), differentiable in the features.
        """
        if features.dim() == 3 and features.size(0) == 1:
            features = features[0]
        dtype = sum_type(features)
        with torch.autocast(features.device.type, enabled=False):
            if isinstance(self.weights, Tensor):
                sums = (self.weights.to(features.dtype) @ features).to(dtype)
            else:
                sums = self._sparse_sums(self.weights, features.to(dtype))
            means: Tensor = sums / self.sizes[..., None]
            return means

    def _sparse_sums(self, terms: Terms, features: Tensor) -> Tensor:
        (batch, count), (cells, width) = self.sizes.shape, features.shape[-2:]
        columns = terms.columns
        if features.dim() == 3:
            columns = columns + terms.rows // count * cells
        table, values = features.reshape(-1, width), terms.values.to(features.dtype)
        rows = batch * count
        sums: Tensor = sparse_product(table, terms.rows, columns, values, rows, in_order=True)
        return sums.view(batch, count, width)


def nearest_weights(
    superpixels: Superpixels,
    stride: int,
    rows: int,
    columns: int,
    substitute: bool = True,
    dense: bool = False,
) -> PoolingWeights:
    """Weights of grid cells that count for the superpixel under their first pixel.

    Args:
        superpixels: Superpixels of the batch.
        stride: Pixels of the map from one cell to the next.
        rows: Rows of the grid.
        columns: Columns of the grid.
        substitute: A superpixel that lies between the cells takes the one nearest to its centroid,
            and only a label without pixels is empty. False leaves it empty.
        dense: Make a matrix on the CPU too; what is exported always has one.

    Raises:
        ValueError: The map does not have `rows` x `columns` pixels at this stride.
    """
    labels = superpixels.map[:, ::stride, ::stride]
    if labels.shape[1:] != (rows, columns):
        raise ValueError(
            f"a map of {tuple(superpixels.map.shape[1:])} pixels has {tuple(labels.shape[1:])} "
            f"cells at stride {stride}, not {(rows, columns)}"
        )
    batch, count, cells = labels.size(0), superpixels.count, rows * columns
    labels, device = labels.flatten(1), labels.device
    sizes = labels.new_zeros(batch, count).scatter_add_(1, labels, torch.ones_like(labels))
    empty = (superpixels.sizes if substitute else sizes) == 0
    lost = (sizes == 0) & ~empty
    places = (superpixels.centroids / stride).round().long()
    row, column = places[..., 0].clamp(max=rows - 1), places[..., 1].clamp(max=columns - 1)
    substitutes = row * columns + column
    every_label, every_cell = (torch.arange(n, device=device) for n in (count, cells))
    if dense or exporting() or device.type != "cpu":
        owned = labels[:, None] == every_label[:, None]
        lent = (substitutes[..., None] == every_cell) & lost[..., None]
        return PoolingWeights.of_matrix((owned | lent).float(), sizes, empty)
    first = count * torch.arange(batch, device=device)[:, None]
    owner = torch.cat([first + labels, first + every_label], 1).flatten()
    cell = torch.cat([every_cell.expand(batch, -1), substitutes], 1).flatten()
    value = torch.cat([torch.ones_like(labels), lost], 1).flatten().float()
    order = owner.argsort(stable=True)
    terms = Terms(owner[order], cell[order], value[order])
    return PoolingWeights(terms, sizes.clamp(min=1).float(), empty)
