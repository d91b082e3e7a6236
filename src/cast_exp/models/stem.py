"""Stems: pixels to a feature grid."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Stem(nn.Module, ABC):
    """Turns pixels into a feature grid.

    Attributes:
        stride: Side of a cell of the grid, in pixels.
    """

    stride: int

    @abstractmethod
    def forward(self, images: Tensor, views: int = 1) -> Tensor:
        """Compute the feature grid before the projection.

        Args:
            images: Normalised images, float (B, 3, H, W).
            views: Views that the batch consists of, one after the other; each has batch statistics
                of its own.

        Returns:
            Features (B, C, rows, columns); see `grid`.
        """

    @abstractmethod
    def project(self, features: Tensor) -> Tensor:
        """What is left to do to features, or averages of features, (..., C)."""

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the feature grid of an image."""
        return -(-height // self.stride), -(-width // self.stride)


class ConvNormReLU(nn.Module):
    """3x3 convolution, batch norm, ReLU; in inference the norm is folded into the convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, ceil(H / stride), ceil(W / stride))."""
        if self.norm.training or torch.is_grad_enabled():
            return F.relu(self.norm(self.conv(x)), inplace=True)
        # The folded form saves two passes over the largest activations of the model.
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = self.conv.weight * scale[:, None, None, None]
        bias = norm.bias - norm.running_mean * scale
        return F.conv2d(x, weight, bias, self.conv.stride, self.conv.padding).relu_()


class ConvStem(Stem):
    """Four 3x3 convolutions of growing width, then a linear projection (Xiao et al., 2021).

    The projection is the stem's closing 1x1 convolution. It is linear, so it commutes with every
    average over grid cells: CAST averages first and projects the far fewer superpixel tokens. That
    is why `forward` stops before it and `project` is called on its own.

    Args:
        dim: Width of the features. The four convolutions have dim/8, dim/4, dim/2 and dim channels.
        strides: Their strides. (2, 2, 2, 1) gives a grid of stride 8 (CAST), (2, 2, 2, 2) one of
            stride 16 (the ViT baseline).
    """

    def __init__(self, dim: int, strides: Sequence[int] = (2, 2, 2, 1)) -> None:
        super().__init__()
        widths = [3, dim // 8, dim // 4, dim // 2, dim]
        self.stride = 1
        for stride in strides:
            self.stride *= stride
        self.convs = nn.Sequential(
            *(
                ConvNormReLU(a, b, s)
                for a, b, s in zip(widths[:-1], widths[1:], strides, strict=True)
            )
        )
        self.projection = nn.Linear(dim, dim)

    def forward(self, images: Tensor, views: int = 1) -> Tensor:
        """Compute the feature grid, (B, dim, rows, columns) in channels-last memory; see `Stem`."""
        images = images.contiguous(memory_format=torch.channels_last)
        if views > 1:
            return torch.cat([self.convs(view) for view in images.chunk(views)])
        features: Tensor = self.convs(images)
        return features

    def project(self, features: Tensor) -> Tensor:
        """Apply the closing linear layer to features or averages of features (..., dim)."""
        projected: Tensor = self.projection(features)
        return projected


class PatchStem(Stem):
    """One linear layer for each square patch (Dosovitskiy et al., 2021).

    Args:
        dim: Width of the features.
        stride: Side of a patch, in pixels.
    """

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.projection = nn.Conv2d(3, dim, stride, stride)

    def forward(self, images: Tensor, views: int = 1) -> Tensor:
        """Compute the feature grid of images padded with zeros, below and on the right."""
        height, width = images.shape[-2:]
        padding = (0, -width % self.stride, 0, -height % self.stride)
        features: Tensor = self.projection(F.pad(images, padding))
        return features

    def project(self, features: Tensor) -> Tensor:
        """Leave features as they are; they are projected already."""
        return features
