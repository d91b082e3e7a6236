"""The sizes of the models and the one function that builds them."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal

import torch
from timm.models import register_model
from timm.models.vision_transformer import Block
from torch import nn

from cast_exp.errors import UserError
from cast_exp.models.cast import CAST
from cast_exp.models.fusion import Fusion
from cast_exp.models.initialization import initialize_truncated_normal, initialize_xavier
from cast_exp.models.pooling import Pooling
from cast_exp.models.positions import PositionKind, Positions
from cast_exp.models.stem import ConvStem
from cast_exp.models.tokens import Sampling, SuperpixelTokens

Initialization = Literal["xavier", "truncated_normal"]
ModelName = Literal["cast_tiny", "cast_small", "cast_small_deep", "cast_base", "cast_base_deep"]


@dataclass(frozen=True)
class Size:
    """Width, blocks in each stage and attention heads."""

    dim: int
    depths: tuple[int, ...]
    heads: int = 12


# All but the tiny one, which is for the CPU, are the paper's.
SIZES: dict[str, Size] = {
    "cast_tiny": Size(96, (1, 1, 1, 1), heads=3),
    "cast_small": Size(384, (3, 3, 3, 2)),
    "cast_small_deep": Size(384, (6, 3, 3, 3)),
    "cast_base": Size(768, (3, 3, 3, 2)),
    "cast_base_deep": Size(768, (6, 3, 3, 3)),
}


def create_model(
    name: ModelName | Size,
    *,
    pooling: Pooling | None = None,
    fusion: bool = False,
    sampling: Sampling = "nearest",
    positions: PositionKind = "sincos",
    position_grid: int | tuple[int, int] = 28,
    initialization: Initialization = "xavier",
    drop_path: float = 0.0,
    mask_empty: bool = True,
    train_last_grouping: bool = False,
) -> CAST:
    """Build a CAST.

    Args:
        name: "cast_tiny", "cast_small", "cast_small_deep", "cast_base", "cast_base_deep", or a
            `Size` of your own.
        pooling: Levels and grouping; the paper's 64, 32, 16 and 8 segments by default.
        fusion: Add the fusion block, for a feature for each superpixel (dense prediction).
        sampling: How superpixels read the feature grid: "nearest" for image-level tasks,
            "interpolated" for dense prediction.
        positions: "sincos" (self-supervised) or "learned" (supervised).
        position_grid: Side, or rows and columns, of the grid the position codes are stored at; 28
            is 224 pixels.
        initialization: "xavier" (self-supervised) or "truncated_normal" (supervised).
        drop_path: Stochastic depth of the last block, in 0..1; it grows linearly from 0.
        mask_empty: See `CAST`.
        train_last_grouping: See `CAST`.

    Raises:
        UserError: An unknown name, or more levels than the model has stages.
    """
    size = name if isinstance(name, Size) else _size(name)
    pooling = pooling or Pooling()
    if len(pooling.levels) > len(size.depths):
        raise UserError(
            f"pooling.levels={list(pooling.levels)} has {len(pooling.levels)} levels, but the "
            f"model has {len(size.depths)} stages; give at most one level for each stage"
        )
    grid = (position_grid, position_grid) if isinstance(position_grid, int) else position_grid
    stem = ConvStem(size.dim)
    rates = iter(torch.linspace(0, drop_path, sum(size.depths)).tolist())
    stages = [
        nn.ModuleList(_block(size, next(rates)) for _ in range(depth)) for depth in size.depths
    ]
    groupings = [
        pooling.grouping(dim=size.dim, heads=size.heads, mask_empty=mask_empty)
        for _ in pooling.levels
    ]
    model = CAST(
        SuperpixelTokens(stem, Positions(size.dim, grid, positions), sampling, mask_empty),
        stages,
        groupings,
        pooling.levels,
        size.dim,
        Fusion(size.dim, len(size.depths), mask_empty=mask_empty) if fusion else None,
        mask_empty,
        train_last_grouping,
    )
    if initialization == "xavier":
        initialize_xavier(model)
    else:
        initialize_truncated_normal(model)
    return model


def _size(name: str) -> Size:
    if name not in SIZES:
        near = get_close_matches(name, SIZES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"unknown model {name!r}: {hint}models are {', '.join(SIZES)}")
    return SIZES[name]


def _block(size: Size, drop_path: float) -> Block:
    norm = partial(nn.LayerNorm, eps=1e-6)
    return Block(size.dim, size.heads, qkv_bias=True, drop_path=drop_path, norm_layer=norm)


def _entry_point(name: str) -> Callable[..., CAST]:
    """Function that timm's registry calls for `timm.create_model(name)`."""

    def build(pretrained: bool = False, **overrides: Any) -> CAST:
        if pretrained:
            raise UserError(
                f"timm has no weights for {name}; use cast_exp.load_pretrained(checkpoint)"
            )
        of_timm = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
        return create_model(_size(name), **{k: v for k, v in overrides.items() if k not in of_timm})

    build.__name__ = name
    return build


for _name in SIZES:
    register_model(_entry_point(_name))
