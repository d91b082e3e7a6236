"""The ViT baseline: square patches from a convolutional stem, no grouping."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cast_exp.models.attention import class_attention
from cast_exp.models.backbone import Backbone, Request
from cast_exp.models.hierarchy import Attention, Hierarchy, Level
from cast_exp.models.positions import Positions
from cast_exp.models.stem import ConvStem
from cast_exp.ops import Superpixels


class ViT(Backbone):
    """Vision transformer with a convolutional stem (Xiao et al., 2021) of stride 16.

    Superpixels do not enter: its hierarchy has one level, the square patches, and says so in
    `superpixels`.

    Args:
        stem: Convolutional stem.
        positions: Position codes.
        blocks: Transformer blocks; a block takes tokens.
        dim: Width of the tokens.
        fused: Give the normalised patch tokens as the features of the patches, for dense
            prediction.
    """

    no_levels = "a ViT groups nothing; levels do not apply to it"

    def __init__(
        self,
        stem: ConvStem,
        positions: Positions,
        blocks: Sequence[nn.Module],
        dim: int,
        fused: bool = False,
    ) -> None:
        super().__init__(dim, len(blocks))
        self.patches = stem
        self.positions = positions
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fusion = nn.Identity() if fused else None

    @property
    def stem(self) -> ConvStem:
        """The convolutional stem."""
        return self.patches

    def encode(
        self, images: Tensor, superpixels: Superpixels | Tensor, request: Request
    ) -> Hierarchy:
        """Encode a batch; see `Backbone.forward`."""
        features = self.patches(images, request.views)
        codes = self.positions.at(*features.shape[-2:])
        tokens = self.patches.project(features.permute(0, 2, 3, 1)).flatten(1, 2)
        # The residual stream has the precision of the parameters, whatever autocast is on.
        tokens = tokens.to(codes.dtype) + codes.flatten(2).transpose(1, 2)
        cls_token = (self.cls_token + self.positions.cls).to(tokens.dtype)
        sequence = torch.cat([cls_token.expand(len(tokens), -1, -1), tokens], 1)
        recorded = None
        for number, block in enumerate(self.blocks):
            if number == request.attention:
                recorded = Attention(class_attention(block, sequence), level=0)
            sequence = self.run_block(block, sequence)
        normed = self.norm(sequence)
        padding = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        patches = patch_map(images, self.patches.stride, features.size(-1))
        return Hierarchy(
            normed[:, 0],
            patches,
            (Level(sequence[:, 1:], padding, None),),
            None if self.fusion is None else normed[:, 1:],
            recorded,
            (features.size(-2), features.size(-1)),
        )


def patch_map(images: Tensor, stride: int, columns: int) -> Tensor:
    """Square patch of each pixel, numbered row by row, int64 (B, H, W)."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) // stride
    across = torch.arange(width, device=images.device) // stride
    return (rows[:, None] * columns + across).expand(len(images), -1, -1)
