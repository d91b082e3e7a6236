"""The decoder of Segmenter (Strudel et al., 2021): classes are tokens beside the superpixels."""

from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from cast_exp.models.heads import Decoder

_HEAD_WIDTH = 64
_DEVIATION = 0.02  # of linear layers and class tokens


class MaskTransformer(Decoder):
    """Scores superpixels by their similarity to tokens of the classes.

    A linear layer, then transformer blocks over the superpixels and one learned token for each
    class, then a layer norm. Both kinds are projected by a matrix each and brought to unit length;
    their products are the scores, normalised over the classes by a last layer norm. Superpixels
    take the place that patches have in Segmenter.

    Attention heads are 64 channels wide (or the next larger width that divides `dim`).

    Args:
        dim: Width of the features.
        classes: Number of classes.
        layers: Transformer blocks.
        dropout: Rate in the blocks: of attention, after it and in the MLP.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        layers: Annotated[int, Field(ge=1)] = 2,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.project = nn.Linear(dim, dim)
        self.class_tokens = nn.Parameter(torch.empty(1, classes, dim))
        block = partial(
            Block,
            dim,
            _heads(dim),
            qkv_bias=True,
            proj_drop=dropout,
            attn_drop=dropout,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
        )
        self.blocks = nn.ModuleList(block() for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.superpixel_matrix = nn.Parameter(torch.empty(dim, dim))
        self.class_matrix = nn.Parameter(torch.empty(dim, dim))
        self.score_norm = nn.LayerNorm(classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """See `Decoder.reset_parameters`; the initialisation is that of the official release."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=_DEVIATION)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        nn.init.trunc_normal_(self.class_tokens, std=_DEVIATION)
        for matrix in (self.superpixel_matrix, self.class_matrix):
            nn.init.normal_(matrix, std=len(matrix) ** -0.5)

    def forward(self, features: Tensor, padding: Tensor, sizes: Tensor | None = None) -> Tensor:
        """See `Decoder.forward`; there are no batch statistics."""
        tokens = self.project(features)
        classes = self.class_tokens.to(tokens.dtype).expand(len(tokens), -1, -1)
        sequence = torch.cat([tokens, classes], 1)
        mask = F.pad(~padding, (0, self.classes), value=True)[:, None, None]
        for block in self.blocks:
            sequence = block(sequence, attn_mask=mask)
        tokens, classes = self.norm(sequence).split([features.size(1), self.classes], 1)
        tokens = F.normalize(tokens @ self.superpixel_matrix, dim=-1)
        classes = F.normalize(classes @ self.class_matrix, dim=-1)
        scores: Tensor = self.score_norm(tokens @ classes.transpose(1, 2))
        return scores.masked_fill(padding[..., None], 0)


def _heads(dim: int) -> int:
    """As many attention heads as divide the width and are 64 channels wide or more."""
    return next(heads for heads in range(max(dim // _HEAD_WIDTH, 1), 0, -1) if dim % heads == 0)
