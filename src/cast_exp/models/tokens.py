"""From a feature grid and a superpixel map to one token per superpixel (paper, section 3.1)."""

from typing import Literal

import torch
from torch import Tensor, nn

from cast_exp.models.positions import Positions
from cast_exp.models.stem import ConvStem
from cast_exp.ops import pooled_interpolation, segment_mean

Sampling = Literal["nearest", "interpolated"]


class SuperpixelTokens(nn.Module):
    """Averages stem features and position codes inside each superpixel.

    `nearest` reads the superpixel under each grid cell (recognition): cheap, but a superpixel that
    lies between the cells has none. `interpolated` averages the features as they would be after
    upsampling to pixels (dense prediction), without computing those.

    Args:
        stem: Convolutional stem.
        positions: Position codes.
        sampling: "nearest" or "interpolated", unless a call says otherwise.
        mask_empty: A superpixel between the cells takes the cell under its centroid, and only a
            label that owns no pixel is empty. False is the official release: both are zero tokens.
    """

    def __init__(
        self,
        stem: ConvStem,
        positions: Positions,
        sampling: Sampling = "nearest",
        mask_empty: bool = True,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.positions = positions
        self.sampling = sampling
        self.mask_empty = mask_empty

    def forward(
        self, images: Tensor, superpixels: Tensor, sampling: Sampling | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the tokens.

        Args:
            images: Normalised images, float (B, 3, H, W).
            superpixels: Labels 0..N-1, int64 (B, H, W).
            sampling: Another way to read the feature grid; None for its own.

        Returns:
            Tokens (B, N, C), zero where empty, and the empty ones, bool (B, N); N is the largest
            label of the batch plus one.
        """
        features = self.stem(images)
        count = int(superpixels.max()) + 1
        if (sampling or self.sampling) == "nearest":
            means, codes, sizes = self._nearest(features, superpixels, count)
        else:
            means, sizes = pooled_interpolation(features, superpixels, count, mode="bilinear")
            grid = self.positions.grid  # one for all images
            codes, _ = pooled_interpolation(grid, superpixels, count, mode="bicubic")
        empty = sizes <= 0
        tokens = self.stem.project(means.to(features.dtype)) + codes.to(features.dtype)
        return tokens.masked_fill(empty[..., None], 0), empty

    def _nearest(
        self, features: Tensor, superpixels: Tensor, count: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        stride = self.stem.stride
        rows, columns = features.shape[-2:]
        cells = superpixels[:, ::stride, ::stride].flatten(1)
        features = features.permute(0, 2, 3, 1).flatten(1, 2)
        codes = self.positions.at(rows, columns).permute(0, 2, 3, 1).flatten(1, 2)
        codes = codes.expand(len(features), -1, -1)
        mean_features, sizes = segment_mean(features, cells, count)
        mean_codes, _ = segment_mean(codes, cells, count)
        if self.mask_empty and bool((sizes <= 0).any()):
            cell, owned = _cell_under_centroid(superpixels, count, stride)
            cell = cell.clamp(max=cell.new_tensor([rows - 1, columns - 1]))
            index = (cell[..., 0] * columns + cell[..., 1])[..., None].expand(-1, -1, codes.size(2))
            lost = (sizes <= 0)[..., None]
            mean_features = torch.where(lost, features.gather(1, index), mean_features)
            mean_codes = torch.where(lost, codes.gather(1, index), mean_codes)
            sizes = owned
        return mean_features, mean_codes, sizes


def _cell_under_centroid(superpixels: Tensor, count: int, stride: int) -> tuple[Tensor, Tensor]:
    """Row and column of the nearest grid cell, int64 (B, N, 2), and sizes in pixels (B, N)."""
    batch, height, width = superpixels.shape
    rows = torch.arange(height, device=superpixels.device, dtype=torch.float32)
    columns = torch.arange(width, device=superpixels.device, dtype=torch.float32)
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)
    centroids, sizes = segment_mean(places.expand(batch, -1, -1), superpixels.flatten(1), count)
    return (centroids / stride).round().long(), sizes
