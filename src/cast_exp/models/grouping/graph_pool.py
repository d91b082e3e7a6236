"""Graph pooling: segments grow from far-apart seed tokens (paper, section 3.2 and algorithm 1)."""

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from timm.layers import Attention
from torch import Tensor, nn
from torch.nn import functional as F

from cast_exp.models.grouping.base import Grouping, Ungrouped
from cast_exp.ops import farthest_tokens

# The official release multiplies cosine similarities by 5 before the softmax.
ASSIGNMENT_SCALE = 5.0


class GraphPool(Grouping):
    """The paper's grouping: farthest-point seeds, soft assignment by cosine similarity.

    Args:
        dim: Width of the tokens.
        heads: Heads of the attention that computes the affinity features.
        dropout: Rate of dropout on the values.
        mask_empty: Keep empty tokens out of attention, means and segments. False is the official
            release, which keeps them out of the choice of seeds only.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        mask_empty: bool = True,
    ) -> None:
        super().__init__()
        self.mask_empty = mask_empty
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads, qkv_bias=True)
        self.bias = nn.Parameter(torch.empty(dim))
        nn.init.normal_(self.bias, std=1e-2)
        self.values = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(dropout)
        )
        self.output = nn.Sequential(nn.LayerNorm(4 * dim), nn.Linear(4 * dim, dim))

    def group(self, given: Ungrouped) -> tuple[Tensor, Tensor, Tensor]:
        """Group the tokens; see `Grouping.group`."""
        tokens, missing = given.tokens, given.missing
        seeds = farthest_tokens(tokens, given.segments, given.padding, self.mask_empty)
        empty = given.padding if self.mask_empty else torch.zeros_like(given.padding)
        affinity = self._affinity(tokens, empty, self.mask_empty and not given.full)
        # In half precision, about one token in a hundred would have two segments that are equally
        # good; and weights that are not divided first sum up to more than float16 holds.
        with torch.autocast(tokens.device.type, enabled=False):
            assignment = ASSIGNMENT_SCALE * affinity @ _take(affinity, seeds).transpose(1, 2)
            assignment = assignment.masked_fill(missing[:, None], -torch.inf)
            weights = assignment.softmax(-1).masked_fill(empty[..., None], 0)
            weights = weights / weights.sum(1, keepdim=True).masked_fill(missing[:, None], 1)
        pooled = weights.transpose(1, 2) @ self.values(tokens)
        return self.output(pooled) + _take(tokens, seeds), assignment, seeds

    def group_cls(self, cls_token: Tensor) -> Tensor:
        """Class token after the grouping, (B, 1, C)."""
        updated: Tensor = self.output(self.values(cls_token)) + cls_token
        return updated

    def shaping(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the affinity features."""
        yield from self.norm.parameters()
        yield from self.attention.parameters()
        yield self.bias

    def _affinity(self, tokens: Tensor, empty: Tensor, masked: bool) -> Tensor:
        """Unit features whose dot product says how well two tokens go together (B, N, C)."""
        keep = ~empty
        mask = keep[:, None, None] if masked else None
        features = tokens + self.attention(self.norm(tokens), attn_mask=mask)
        mean = (features * keep[..., None]).sum(1, keepdim=True) / keep.sum(1)[:, None, None]
        affinity: Tensor = F.normalize(features - mean + self.bias, dim=-1)
        return affinity


def _take(tokens: Tensor, index: Tensor) -> Tensor:
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.size(-1)))
