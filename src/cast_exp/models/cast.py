"""CAST: transformer stages over superpixel tokens with a grouping after each (paper, section 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cast_exp.errors import UserError
from cast_exp.models.attention import attention_received, class_attention
from cast_exp.models.backbone import Backbone, Request
from cast_exp.models.fusion import Fusion
from cast_exp.models.grouping import Grouping
from cast_exp.models.hierarchy import Attention, Hierarchy, Level
from cast_exp.models.pooling import segment_count
from cast_exp.models.tokens import Reading, Sampling, SuperpixelTokens
from cast_exp.ops import Superpixels


class CAST(Backbone):
    """Recognises an image and segments it at every level in one forward pass.

    Args:
        tokens: Superpixel tokeniser (stem and positions).
        stages: Transformer blocks of each stage; a block takes tokens and `attn_mask`.
        groupings: Grouping after each of the first stages; at most one for each stage.
        levels: Segments each grouping makes, as counts or as fractions of the superpixels.
        fusion: Fusion block, for a feature for each superpixel.
        mask_empty: Keep empty superpixels out of everything, so that the output for an image does
            not depend on its batch; False is the official release.
        train_last_grouping: Train what only shapes the grouping after the last stage. Nothing of
            the recognition loss depends on it: the official release leaves it as initialised, and
            so does the default. A loss on the coarsest level needs it.
    """

    def __init__(
        self,
        tokens: SuperpixelTokens,
        stages: Sequence[nn.ModuleList],
        groupings: Sequence[Grouping],
        levels: Sequence[int | float],
        dim: int,
        fusion: Fusion | None = None,
        mask_empty: bool = True,
        train_last_grouping: bool = False,
    ) -> None:
        super().__init__(dim, sum(map(len, stages)))
        self.levels = tuple(levels)
        self.mask_empty = mask_empty
        self.train_last_grouping = train_last_grouping
        self.tokens = tokens
        self.stages = nn.ModuleList(stages)
        self.groupings = nn.ModuleList(groupings)
        self.norm = nn.LayerNorm(dim, eps=1e-6) if fusion is None else nn.Identity()
        self.fusion = fusion
        if self.groups_last_stage and not train_last_grouping:
            unused = groupings[-1].parameters() if fusion is None else groupings[-1].shaping()
            for parameter in unused:
                parameter.requires_grad_(False)

    @property
    def stem(self) -> nn.Module:
        """The convolutional stem."""
        return self.tokens.stem

    def reading(
        self, images: Tensor, superpixels: Superpixels | Tensor, sampling: Sampling | None = None
    ) -> Reading:
        """See `Backbone.reading`."""
        return self.tokens.reading(images, Superpixels.of(superpixels), sampling)

    @property
    def groups_last_stage(self) -> bool:
        """See `Backbone.groups_last_stage`."""
        return len(self.groupings) == len(self.stages)

    @property
    def figure_block(self) -> int:
        """The last block of the stage before the last, as in the paper's appendix."""
        depths = [len(blocks) for blocks in self.stages.children()]  # type: ignore[arg-type]
        return sum(depths[:-1] or depths) - 1

    def encode(
        self, images: Tensor, superpixels: Superpixels | Tensor, request: Request
    ) -> Hierarchy:
        """Encode a batch; see `Backbone.forward`."""
        levels = self.levels if request.levels is None else request.levels
        if len(levels) > len(self.groupings):
            raise UserError(
                f"{len(levels)} levels were asked for, but the model has "
                f"{len(self.groupings)} groupings; give at most that many"
            )
        attention_block, recorded = request.attention, None
        superpixels = Superpixels.of(superpixels)
        reading = request.reading or self.reading(images, superpixels, request.sampling)
        tokens, empty = self.tokens(images, reading, request.views), reading.empty
        padding = empty
        full = superpixels.full and self.mask_empty  # the official release has other empty ones

        cls_token = (self.cls_token + self.tokens.positions.cls).to(tokens.dtype)
        cls_token = cls_token.expand(tokens.size(0), -1, -1)
        hierarchy: list[Level] = []
        stage_tokens, stage_levels, cls_tokens = [], [], []
        image_token = cls_token
        for stage, blocks in enumerate(self.stages):
            assert isinstance(blocks, nn.ModuleList)
            before_last, sequence, heads = self._run(
                blocks, cls_token, tokens, padding, full, attention_block
            )
            if attention_block is not None:
                attention_block -= len(blocks)
            if heads is not None:
                recorded = Attention(heads, level=len(hierarchy))
            cls_token, tokens = sequence[:, :1], sequence[:, 1:]
            image_token = cls_token
            stage_tokens.append(tokens)
            stage_levels.append(len(hierarchy))
            if stage < len(levels):
                grouping = self.groupings[stage]
                assert isinstance(grouping, Grouping)
                if stage == len(self.stages) - 1 and not request.last_grouping:
                    cls_token = grouping.group_cls(cls_token) if self.fusion else cls_token
                else:
                    count = segment_count(levels[stage], superpixels.whole, tokens.size(1))
                    received = None
                    if grouping.reads_attention:
                        hidden = padding if self.mask_empty and not full else None
                        received = attention_received(blocks[-1], before_last, hidden)
                    given = None if full else padding
                    grouped = grouping(tokens, cls_token, count, given, received)
                    hierarchy.append(Level(tokens, padding, grouped.assignment))
                    tokens, cls_token = grouped.tokens, grouped.cls_token
                    padding = grouped.padding
            cls_tokens.append(cls_token)
        hierarchy.append(Level(tokens, padding, None))

        cls, fused = self.norm(image_token[:, 0]), None
        if self.fusion is not None:
            found = Hierarchy(cls, superpixels.map, tuple(hierarchy))
            cls, fused = self.fusion(
                stage_tokens,
                [found.labels(level) for level in stage_levels],
                cls_tokens,
                empty,
                request.views,
            )
        return Hierarchy(
            cls,
            superpixels.map,
            tuple(hierarchy),
            fused=fused,
            attention=recorded,
            mask_empty=self.mask_empty,
        )

    def _run(
        self,
        blocks: nn.ModuleList,
        cls_token: Tensor,
        tokens: Tensor,
        padding: Tensor,
        full: bool,
        attention_block: int | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run a stage.

        Returns:
            Class token and tokens (B, 1 + N, C) before and after its last block, and the attention
            of the class token (B, heads, N) in `attention_block`, counted from the stage's first.
        """
        mask = None
        if self.mask_empty and not full:
            mask = F.pad(~padding, (1, 0), value=True)[:, None, None]
        before = sequence = torch.cat([cls_token, tokens], 1)
        heads = None
        for number, block in enumerate(blocks):
            if number == attention_block:
                heads = class_attention(block, sequence, mask).masked_fill(padding[:, None], 0)
            before, sequence = sequence, self.run_block(block, sequence, attn_mask=mask)
        return before, sequence, heads
