"""How two label maps of an image overlap."""

import torch
from torch import Tensor


def contingency(rows: Tensor, columns: Tensor, shape: tuple[int, int]) -> Tensor:
    """Count the pixels that have each pair of labels.

    Args:
        rows: Labels 0..shape[0]-1, int64 of any shape.
        columns: Labels of the same pixels; those outside 0..shape[1]-1 (void) are not counted.
        shape: Numbers of labels (R, C).

    Returns:
        Pixels with each label of `rows` and of `columns`, int64 (R, C).
    """
    counted = (columns >= 0) & (columns < shape[1])
    pairs = rows[counted] * shape[1] + columns[counted]
    return torch.bincount(pairs, minlength=shape[0] * shape[1]).view(shape)
