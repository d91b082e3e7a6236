"""Fusion block: one feature per superpixel from all stages (paper, section 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cast_exp.distributed import SyncBatchNorm


class Fusion(nn.Module):
    """Copies every stage's tokens back to the superpixels, concatenates and projects them.

    Args:
        dim: Width of the tokens.
        stages: Number of stages.
        dropout: Rate of dropout before the projection.
        mask_empty: Leave empty superpixels out of the batch statistics; False is the official
            release.
    """

    def __init__(
        self, dim: int, stages: int, dropout: float = 0.2, mask_empty: bool = True
    ) -> None:
        super().__init__()
        self.mask_empty = mask_empty
        self.norm = SyncBatchNorm(stages * dim)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(stages * dim, dim)

    def forward(
        self,
        stage_tokens: Sequence[Tensor],
        stage_labels: Sequence[Tensor],
        cls_tokens: Sequence[Tensor],
        padding: Tensor,
        views: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """Fuse the stages.

        Args:
            stage_tokens: Tokens of each stage, float (B, N_s, C).
            stage_labels: Token of each superpixel in each stage, int64 (B, N).
            cls_tokens: Class token after each stage, float (B, 1, C).
            padding: True where a superpixel is empty, bool (B, N).
            views: See `Backbone.forward`.

        Returns:
            Fused class token (B, C) and fused superpixel features (B, N, C), zero where empty.
        """
        if not self.training:
            return self._fuse_then_copy(stage_tokens, stage_labels, cls_tokens, padding)
        spread = [
            tokens.gather(1, labels[..., None].expand(-1, -1, tokens.size(-1)))
            for tokens, labels in zip(stage_tokens, stage_labels, strict=True)
        ]
        columns = torch.cat([torch.cat(list(cls_tokens), -1), torch.cat(spread, -1)], 1)
        keep = nn.functional.pad(~padding, (1, 0), value=True)
        rows = [
            self.norm(view.flatten(0, 1), kept.flatten() if self.mask_empty else None)
            for view, kept in zip(columns.chunk(views), keep.chunk(views), strict=True)
        ]
        fused = self.projection(self.dropout(torch.cat(rows))).view(*columns.shape[:2], -1)
        if self.mask_empty:
            fused = fused.masked_fill(~keep[..., None], 0)
        return fused[:, 0], fused[:, 1:]

    def _fuse_then_copy(
        self,
        stage_tokens: Sequence[Tensor],
        stage_labels: Sequence[Tensor],
        cls_tokens: Sequence[Tensor],
        padding: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Project the few tokens of each stage before copying them; the same but for rounding.

        In training it is not: batch statistics and dropout are those of the copies.
        """
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = self.projection.weight * scale
        bias = self.projection.bias + self.projection.weight @ (
            norm.bias - norm.running_mean * scale
        )
        cls = nn.functional.linear(torch.cat(list(cls_tokens), -1), weight, bias)
        first, *others = torch.chunk(weight, len(stage_tokens), 1)
        fused = nn.functional.linear(stage_tokens[0], first, bias)  # those are the superpixels
        for tokens, labels, part in zip(stage_tokens[1:], stage_labels[1:], others, strict=True):
            projected = nn.functional.linear(tokens, part)
            index = labels[..., None].expand(-1, -1, projected.size(-1))
            fused = fused + projected.gather(1, index)
        if self.mask_empty:
            fused = fused.masked_fill(padding[..., None], 0)
        return cls[:, 0], fused
