"""What every backbone is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cast_exp.errors import UserError
from cast_exp.models.attention import block_number
from cast_exp.models.config import ModelConfig
from cast_exp.models.hierarchy import Hierarchy
from cast_exp.models.pooling import check_levels
from cast_exp.models.tokens import Reading, Sampling
from cast_exp.ops import Superpixels


@dataclass(frozen=True)
class Request:
    """What a forward pass is asked for, checked; see `Backbone.forward`.

    Attributes:
        levels: Levels in the place of the model's; None for its own.
        last_grouping: Whether to group after the last stage.
        attention: Block whose attention is wanted, from 0; None for none.
        sampling: Way to read the feature grid in the place of the model's; None for its own.
        reading: The same, made before; None makes it.
        views: Views that the batch consists of.
    """

    levels: tuple[int | float, ...] | None
    last_grouping: bool
    attention: int | None
    sampling: Sampling | None
    reading: Reading | None = None
    views: int = 1


class Backbone(nn.Module, ABC):
    """Makes a `Hierarchy` of images and superpixels; every task works with every backbone.

    Args:
        dim: Width of the tokens.
        num_blocks: Number of transformer blocks.

    Attributes:
        cls_token: Class token, float (1, 1, dim); None in a ViT that has none.
        fusion: Fusion block, or None.
        train_last_grouping: Whether a loss on the coarsest level may train what shapes it.
        config: What it was built from; None if not by `create_model`.
        activation_checkpointing: See `VariableOptions`.
    """

    no_levels: ClassVar[str] = ""
    """Why levels of segments cannot be chosen, where they cannot."""

    fusion: nn.Module | None
    train_last_grouping: bool = False
    config: ModelConfig | None = None
    activation_checkpointing: bool = False

    def __init__(self, dim: int, num_blocks: int) -> None:
        super().__init__()
        self.dim = dim
        self.num_blocks = num_blocks
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        nn.init.normal_(self.cls_token, std=1e-6)

    @property
    @abstractmethod
    def stem(self) -> nn.Module:
        """The stem, which turns pixels into features."""

    @property
    def patch_size(self) -> int:
        """Side of the square patches that are the tokens, in pixels; 0 for superpixels."""
        return 0

    @property
    def groups_last_stage(self) -> bool:
        """Whether a grouping follows the last stage; only a segmentation needs its result."""
        return False

    @property
    def figure_block(self) -> int:
        """Block whose class token tells figure from ground, as `forward` counts them."""
        return self.num_blocks - 1

    def reading(
        self, images: Tensor, superpixels: Superpixels | Tensor, sampling: Sampling | None = None
    ) -> Reading | None:
        """How superpixels read the feature grid; None where there are none to read it.

        It does not depend on weights: models of one build that encode the same batch can share it.

        Args:
            images: See `forward`; only their size counts.
            superpixels: See `forward`.
            sampling: See `forward`.
        """
        return None

    @abstractmethod
    def encode(
        self, images: Tensor, superpixels: Superpixels | Tensor, request: Request
    ) -> Hierarchy:
        """Encode a batch; what `forward` does once the request is checked.

        Raises:
            UserError: More levels than the model has groupings.
        """

    def forward(
        self,
        images: Tensor,
        superpixels: Superpixels | Tensor,
        levels: Sequence[int | float] | None = None,
        last_grouping: bool = True,
        attention: int | None = None,
        sampling: Sampling | None = None,
        reading: Reading | None = None,
        views: int = 1,
    ) -> Hierarchy:
        """Encode a batch.

        Args:
            images: Normalised images, float (B, 3, H, W).
            superpixels: Superpixels of the images, or labels 0..N-1, int64 (B, H, W); with these,
                N is read from the map, which makes the host wait for the device.
            levels: Other segment counts or fractions than those of the model, at most as many.
            last_grouping: Whether to group after the last stage, which only segmentations and
                losses on the coarsest level read. Without it the hierarchy is one level shorter.
            attention: Block whose class-token attention is wanted, counted over all stages from 0,
                or from the end if negative; it comes as `Hierarchy.attention`. Nothing is computed
                for None.
            sampling: How superpixels read the feature grid; None for the way of the model. A ViT
                has no superpixels and ignores it.
            reading: What `reading` gives, made before; `sampling` is of no account then.
            views: Views that the batch consists of, one after the other and equally many images of
                each: in training, batch statistics are those of a view.

        Raises:
            UserError: More levels than the model has groupings, levels that do not get smaller, or
                a block that is not there.
        """
        if levels and self.no_levels:
            raise UserError(self.no_levels)
        given = None if levels is None else check_levels(levels, f"levels={levels}")
        block = block_number(attention, self.num_blocks)
        request = Request(given, last_grouping, block, sampling, reading, views)
        return self.encode(images, superpixels, request)

    def run_block(self, block: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        """What a transformer block gives, whose activations are kept or computed again."""
        if self.activation_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False, **options)
        return block(*inputs, **options)

    @torch.no_grad()
    def look(self, **options: Any) -> Hierarchy:
        """The hierarchy of a small blank image: what it is like, and whether options fit.

        Args:
            options: Of `forward`.

        Raises:
            UserError: See `forward`.
        """
        maps = torch.arange(16).view(1, 4, 4).repeat_interleave(16, 1).repeat_interleave(16, 2)
        hierarchy: Hierarchy = (
            deepcopy(self).eval().cpu()(torch.zeros(1, 3, *maps.shape[1:]), maps, **options)
        )
        return hierarchy
