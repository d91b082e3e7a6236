"""Square patches in the place of superpixels."""

from math import isqrt
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from cast_exp.superpixels.base import SuperpixelMethod


def square_side(height: int, width: int, count: int) -> int:
    """Side of the smallest squares of which at most ``count`` cover an image.

    Squares are laid from the top left corner; those at the right and bottom border stick out.

    Returns:
        Pixels, at least 1; the squares form ceil(height / side) rows, ceil(width / side) columns.
    """
    side = max(isqrt(height * width // count), 1)
    while -(-height // side) * -(-width // side) > count:
        side += 1
    return side


def square_count(height: int, width: int, count: int) -> int:
    """Number of those squares, ``1..count``."""
    side = square_side(height, width, count)
    return -(-height // side) * -(-width // side)


def square_patches(
    height: int, width: int, count: int, device: torch.device | None = None
) -> Tensor:
    """Cut an image into at most ``count`` squares as small as can be, see `square_side`.

    Returns:
        Labels, row by row, all below `square_count`, int64 (height, width).
    """
    side = square_side(height, width, count)
    rows = torch.arange(height, device=device) // side
    columns = torch.arange(width, device=device) // side
    return rows[:, None] * -(-width // side) + columns


class Grid(SuperpixelMethod):
    """Square patches, as in a ViT: the baseline that does not look at the image.

    At most ``count`` squares as small as can be, numbered row by row. Where the side of the image
    is no multiple of theirs, the last row and column are cut off. 196 patches of a 224-pixel image
    are the 14 x 14 patches of 16 x 16 pixels of a ViT/16.

    Args:
        count: Most patches.
    """

    device = "any"

    def __init__(self, count: Annotated[int, Field(ge=1)] = 196) -> None:
        super().__init__(count)

    @property
    def full(self) -> bool:
        """See `SuperpixelMethod.full`; no square is without pixels."""
        return True

    def segment(self, images: Tensor) -> Tensor:
        """See `SuperpixelMethod.__call__`."""
        batch, _, height, width = images.shape
        return square_patches(height, width, self.count, images.device).repeat(batch, 1, 1)

    def labels(self, height: int, width: int) -> int:
        """See `SuperpixelMethod.labels`."""
        return square_count(height, width, self.count)
