"""From a feature grid and superpixels to one token per superpixel (paper, section 3.1)."""

from typing import Literal, NamedTuple

from torch import Tensor, nn

from cast_exp.errors import UserError
from cast_exp.models.positions import Positions
from cast_exp.models.stem import Stem
from cast_exp.ops import PoolingWeights, Superpixels, interpolated_weights, nearest_weights

Sampling = Literal["nearest", "interpolated"]


class Reading(NamedTuple):
    """How superpixels read what lies on grids.

    Attributes:
        features: Weights of the cells of the feature grid in the mean of each superpixel.
        positions: Those of the cells of the grid of position codes; None if it is that of features.
        empty: True where there is nothing to read, bool (B, N).
    """

    features: PoolingWeights
    positions: PoolingWeights | None
    empty: Tensor


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
        stem: Stem,
        positions: Positions,
        sampling: Sampling = "nearest",
        mask_empty: bool = True,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.positions = positions
        self.sampling = sampling
        self.mask_empty = mask_empty

    def reading(
        self, images: Tensor, superpixels: Superpixels, sampling: Sampling | None = None
    ) -> Reading:
        """How the superpixels read the grids; see `Backbone.reading`."""
        grid = self.stem.grid(*images.shape[-2:])
        if (sampling or self.sampling) == "nearest":
            if superpixels.map.shape[-2:] != images.shape[-2:]:
                raise UserError(
                    f"superpixels of {tuple(superpixels.map.shape[-2:])} pixels do not fit images "
                    f"of {tuple(images.shape[-2:])}; set model.sampling=interpolated, or compute "
                    "them at the size of the images"
                )
            weights = nearest_weights(superpixels, self.stem.stride, *grid, self.mask_empty)
            return Reading(weights, None, weights.empty)
        codes = self.positions.grid.shape[-2:]
        return Reading(
            interpolated_weights(superpixels, grid, "bilinear"),
            interpolated_weights(superpixels, (codes[0], codes[1]), "bicubic"),
            superpixels.sizes == 0,
        )

    def forward(self, images: Tensor, reading: Reading, views: int = 1) -> Tensor:
        """Compute the tokens.

        Args:
            images: Normalised images, float (B, 3, H, W).
            reading: How superpixels read the grids.
            views: See `Backbone.forward`.

        Returns:
            Tokens (B, N, C), zero where empty. They begin the residual stream, so their precision
            is that of the parameters, whatever autocast is on.
        """
        features = self.stem(images, views)
        means = reading.features.mean(_cells(features)).to(features.dtype)
        if reading.positions is None:
            codes = reading.features.mean(_cells(self.positions.at(*features.shape[-2:])))
        else:
            codes = reading.positions.mean(_cells(self.positions.grid))
        codes = codes.to(self.positions.grid.dtype)
        tokens = self.stem.project(means).to(codes.dtype) + codes
        return tokens.masked_fill(reading.empty[..., None], 0)


def _cells(grid: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h * w, C)."""
    return grid.flatten(2).transpose(1, 2)
