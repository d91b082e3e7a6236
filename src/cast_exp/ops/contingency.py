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
    height, width = shape
    counted = (columns >= 0) & (columns < width)
    # Void goes to a column of its own: four times as fast as to pick what counts.
    pairs = (rows * (width + 1) + torch.where(counted, columns, width)).flatten()
    table = torch.zeros(height * (width + 1), dtype=torch.int64, device=pairs.device)
    table.scatter_add_(0, pairs, torch.ones_like(pairs))
    return table.view(height, width + 1)[:, :width]
