"""The sizes of the models and the functions that build them."""

import math
from dataclasses import asdict
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import nn

from cast_exp.errors import UserError
from cast_exp.models.backbone import Backbone
from cast_exp.models.cast import CAST
from cast_exp.models.config import ModelConfig, ModelOptions, Size, takes
from cast_exp.models.fusion import Fusion
from cast_exp.models.initialization import initialize_truncated_normal, initialize_xavier
from cast_exp.models.pooling import Pooling
from cast_exp.models.positions import Positions
from cast_exp.models.stem import ConvStem, PatchStem, Stem
from cast_exp.models.tokens import SuperpixelTokens
from cast_exp.models.tome import ToMe
from cast_exp.models.vit import ViT

Initialization = Literal["xavier", "truncated_normal"]

# All but the tiny ones, which are for the CPU, are the paper's.
SIZES: dict[str, Size] = {
    "cast_tiny": Size(96, (1, 1, 1, 1), heads=3),
    "cast_small": Size(384, (3, 3, 3, 2)),
    "cast_small_deep": Size(384, (6, 3, 3, 3)),
    "cast_base": Size(768, (3, 3, 3, 2)),
    "cast_base_deep": Size(768, (6, 3, 3, 3)),
    "vit_tiny": Size(96, (4,), heads=3, family="vit"),
    "vit_small": Size(384, (11,), family="vit"),
    "vit_base": Size(768, (11,), family="vit"),
    "tome_tiny": Size(96, (4,), heads=3, family="tome"),
    "tome_small": Size(384, (11,), family="tome"),
    "tome_base": Size(768, (11,), family="tome"),
}


if TYPE_CHECKING:
    ModelName = str
else:
    ModelName = Literal[*SIZES]


@takes(ModelOptions)
def create_model(
    name: ModelName | Size,
    *,
    pooling: Pooling | None = None,
    initialization: Initialization = "xavier",
    **options: Any,
) -> Backbone:
    """Build a backbone.

    Args:
        name: One of `SIZES`, or a `Size` of your own.
        pooling: Levels and grouping of a CAST; the paper's 64, 32, 16 and 8 segments by default.
        initialization: "xavier" (self-supervised) or "truncated_normal" (supervised).
        options: See `ModelOptions`.

    Raises:
        UserError: An unknown name, another thing than a `Pooling`, more levels than the model has
            stages, or levels for a model that does not group.
    """
    if not isinstance(pooling, Pooling | None):
        raise UserError(f"pooling={pooling}: give Pooling(levels), as in Pooling((64, 32, 16, 8))")
    size = name if isinstance(name, Size) else size_of(name)
    pooling = pooling or Pooling(Pooling().levels if size.family == "cast" else ())
    config = ModelConfig(**asdict(size), **options, **pooling.described())
    return build_backbone(config, pooling, initialization)


def build_backbone(
    config: ModelConfig, pooling: Pooling, initialization: Initialization = "xavier"
) -> Backbone:
    """Build what a config describes, with a pooling that may replace the one it describes.

    Raises:
        UserError: More levels than the model has stages, levels for one that does not group, or a
            width that heads or position codes cannot share.
    """
    parts = math.lcm(config.heads, 4 if config.positions == "sincos" else 1)
    if config.dim % parts:
        raise UserError(
            f"dim={config.dim} with heads={config.heads}: the width of a model with "
            f"{config.positions} positions must be a multiple of {parts} here"
        )
    if config.family != "cast" and pooling.levels:
        raise UserError(f"a {config.family} has no pooling levels; set model.pooling=null")
    if len(pooling.levels) > len(config.depths):
        raise UserError(
            f"pooling.levels={list(pooling.levels)} has {len(pooling.levels)} levels, but the "
            f"model has {len(config.depths)} stages; give at most one level for each stage"
        )
    stem: Stem
    if config.patch_size:
        stem = PatchStem(config.dim, config.patch_size)
    else:
        stem = ConvStem(config.dim, (2, 2, 2, 2 if config.family == "vit" else 1))
    side = -(-config.image_size // stem.stride)
    positions = Positions(config.dim, (side, side), config.positions)
    tokens = SuperpixelTokens(stem, positions, config.sampling, config.mask_empty)
    rates = iter(np.linspace(0, config.drop_path, sum(config.depths)).tolist())
    stages = [
        nn.ModuleList(config.block(next(rates)) for _ in range(depth)) for depth in config.depths
    ]
    model: Backbone
    if config.family == "vit":
        model = ViT(
            stem,
            positions,
            list(stages[0]),
            config.dim,
            config.fusion,
            config.class_token,
            config.registers,
            config.pool,
        )
    elif config.family == "tome":
        model = ToMe(
            tokens, list(stages[0]), config.dim, config.merged, config.mask_empty, config.fusion
        )
    else:
        model = CAST(
            tokens,
            stages,
            [
                pooling.grouping(dim=config.dim, heads=config.heads, mask_empty=config.mask_empty)
                for _ in pooling.levels
            ],
            pooling.levels,
            config.dim,
            Fusion(config.dim, len(stages), mask_empty=config.mask_empty)
            if config.fusion
            else None,
            config.mask_empty,
            config.train_last_grouping,
        )
    if initialization == "xavier":
        initialize_xavier(model)
    else:
        initialize_truncated_normal(model)
    model.config = config
    model.activation_checkpointing = config.activation_checkpointing
    return model


def untrained(config: ModelConfig) -> Backbone:
    """A backbone of the same build with weights that no training has seen.

    It is initialised as models with its kind of position codes are, from torch's generator.
    """
    pooling = Pooling.of(config.levels, config.grouping, config.grouping_options)
    learned = config.positions == "learned"
    return build_backbone(config, pooling, "truncated_normal" if learned else "xavier")


def size_of(name: str) -> Size:
    """One of `SIZES`.

    Raises:
        UserError: There is none of this name.
    """
    if name not in SIZES:
        near = get_close_matches(name, SIZES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"unknown model {name!r}: {hint}models are {', '.join(SIZES)}")
    return SIZES[name]
