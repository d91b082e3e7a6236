"""The ViT baseline: square patches, no grouping."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cast_exp.errors import UserError
from cast_exp.models.attention import class_attention
from cast_exp.models.backbone import Backbone, Request
from cast_exp.models.config import Pool
from cast_exp.models.hierarchy import Attention, Hierarchy, Level
from cast_exp.models.positions import Positions
from cast_exp.models.stem import Stem
from cast_exp.ops import Superpixels


class ViT(Backbone):
    """Vision transformer: the paper's baseline, or one of timm, DINO, MoCo-v3 or DeiT.

    Superpixels do not enter: its hierarchy has one level, the square patches, and says so in
    `superpixels`.

    Args:
        stem: Convolutional stem (Xiao et al., 2021) of stride 16, or linear patches.
        positions: Position codes.
        blocks: Transformer blocks; a block takes tokens.
        dim: Width of the tokens.
        fused: Give the normalised patch tokens as the features of the patches, for dense
            prediction.
        class_token: See `ViTOptions`, also for what follows.
        registers: Number of registers.
        pool: What stands for the image.
    """

    no_levels = "a ViT groups nothing; levels do not apply to it"

    def __init__(
        self,
        stem: Stem,
        positions: Positions,
        blocks: Sequence[nn.Module],
        dim: int,
        fused: bool = False,
        class_token: bool = True,
        registers: int = 0,
        pool: Pool = "class",
    ) -> None:
        super().__init__(dim, len(blocks))
        self.patches = stem
        self.positions = positions
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fusion = nn.Identity() if fused else None
        self.class_token = class_token
        if not class_token:
            self.cls_token = positions.cls = None  # type: ignore[assignment]
        self.registers = nn.Parameter(torch.empty(1, registers, dim)) if registers else None
        if self.registers is not None:
            nn.init.normal_(self.registers, std=1e-6)
        self.pool = pool

    @property
    def stem(self) -> Stem:
        """What makes the patches."""
        return self.patches

    @property
    def patch_size(self) -> int:
        """Side of a patch, in pixels."""
        return self.patches.stride

    def encode(
        self, images: Tensor, superpixels: Superpixels | Tensor, request: Request
    ) -> Hierarchy:
        """Encode a batch; see `Backbone.forward`.

        Raises:
            UserError: The attention of a class token is asked for, and there is none.
        """
        if request.attention is not None and not self.class_token:
            raise UserError(
                "this ViT has no class token, whose attention tells figure from ground; take "
                "weights of one that has"
            )
        features = self.patches(images, request.views)
        codes = self.positions.at(*features.shape[-2:])
        tokens = self.patches.project(features.permute(0, 2, 3, 1)).flatten(1, 2)
        # The residual stream has the precision of the parameters, whatever autocast is on.
        tokens = tokens.to(codes.dtype) + codes.flatten(2).transpose(1, 2)
        prefix = self._prefix().to(tokens.dtype)
        sequence = torch.cat([prefix.expand(tokens.size(0), -1, -1), tokens], 1)
        first = prefix.size(1)
        recorded = None
        for number, block in enumerate(self.blocks):
            if number == request.attention:
                recorded = Attention(class_attention(block, sequence, None, first), level=0)
            sequence = self.run_block(block, sequence)
        normed = self.norm(sequence)
        padding = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        patches = patch_map(images, self.patches.stride, features.size(-1))
        return Hierarchy(
            self._pooled(sequence, normed, first),
            patches,
            (Level(sequence[:, first:], padding, None),),
            None if self.fusion is None else normed[:, first:],
            recorded,
            self.patches.stride,
        )

    def _prefix(self) -> Tensor:
        """Tokens that stand for no patch, float (1, P, C): class token and registers."""
        tokens = [self.cls_token + self.positions.cls] if self.class_token else []
        tokens += [] if self.registers is None else [self.registers]
        return torch.cat(tokens, 1) if tokens else self.positions.grid.new_empty(1, 0, self.dim)

    def _pooled(self, sequence: Tensor, normed: Tensor, first: int) -> Tensor:
        """What stands for the image, float (B, C), of tokens whose patches begin at `first`."""
        match self.pool:
            case "class":
                return normed[:, 0]
            case "distilled":
                return normed[:, :2].mean(1)
            case "mean":
                return normed[:, first:].mean(1)
            case "mean_then_norm":
                pooled: Tensor = self.norm(sequence[:, first:].mean(1))
                return pooled


def patch_map(images: Tensor, stride: int, columns: int) -> Tensor:
    """Square patch of each pixel, numbered row by row, int64 (B, H, W)."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) // stride
    across = torch.arange(width, device=images.device) // stride
    return (rows[:, None] * columns + across).expand(images.size(0), -1, -1)
