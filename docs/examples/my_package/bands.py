"""A superpixel method."""

import torch
from torch import Tensor

from cast_exp.extend import SuperpixelMethod


class Bands(SuperpixelMethod):
    """Horizontal bands of equal height, at most `count` of them."""

    device = "any"

    def segment(self, images: Tensor) -> Tensor:
        batch, _, height, width = images.shape
        rows = torch.arange(height, device=images.device)
        bands = rows * self.labels(height, width) // height
        return bands[:, None].expand(height, width).repeat(batch, 1, 1)

    def labels(self, height: int, width: int) -> int:
        return min(self.count, height)
