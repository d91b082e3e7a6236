"""Product of a sparse matrix with a dense one, differentiable in the dense one."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.library.custom_op("cast_exp::sparse_product", mutates_args=())
def sparse_product(
    table: Tensor,
    rows: Tensor,
    columns: Tensor,
    weights: Tensor | None,
    count: int,
    in_order: bool = False,
) -> Tensor:
    """Sum weighted rows of a table: `out[rows[e]] += weights[e] * table[columns[e]]`.

    Sums go by sorted entries and not by atomic additions, forward and backward, so a result is the
    same on every run on a GPU too. One operator for `torch.compile`, which need not look inside.

    Args:
        table: Float (N, C).
        rows: Row of the result that an entry adds to, int64 (E,), in any order.
        columns: Row of the table that it reads, int64 (E,).
        weights: Factors, (E,), dtype of the table; None is all ones. No gradient flows to them.
        count: Rows of the result.
        in_order: `rows` never decrease, which spares sorting them.

    Returns:
        Sums (count, C); rows without an entry are zero.
    """
    lengths = torch.bincount(rows, minlength=count)
    if not in_order:
        order = rows.argsort(stable=True)
        columns, weights = columns[order], None if weights is None else weights[order]
    begins = lengths.cumsum(0) - lengths
    # Several times faster where each row of the table is in one piece.
    table = table.contiguous()
    return F.embedding_bag(columns, table, begins, mode="sum", per_sample_weights=weights)


@sparse_product.register_fake
def _shape(table: Tensor, *others: Any) -> Tensor:
    count = others[3]
    return table.new_empty(count, table.size(1))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    table, rows, columns, weights, _, _ = inputs
    ctx.save_for_backward(rows, columns, weights)
    ctx.size = table.size(0)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    rows, columns, weights = ctx.saved_tensors
    return sparse_product(grad, columns, rows, weights, ctx.size), None, None, None, None, None


sparse_product.register_autograd(_backward, setup_context=_save)
