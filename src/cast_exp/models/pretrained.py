"""Loads a backbone from a checkpoint: of one of our runs, or the official release's."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from cast_exp.errors import UserError
from cast_exp.models.backbone import Backbone, ModelConfig
from cast_exp.models.official import convert_official, is_official, read_checkpoint
from cast_exp.models.pooling import Pooling
from cast_exp.models.registry import Size, build_backbone, create_model
from cast_exp.models.tokens import Sampling

log = logging.getLogger(__name__)

CONFIG = "backbone"
"""Key under which our checkpoints carry the config of the backbone."""
_PREFIX = "backbone."


def load_pretrained(
    checkpoint: Path,
    *,
    pooling: Pooling | None = None,
    sampling: Sampling | None = None,
    mask_empty: bool = True,
    heads: Annotated[int, Field(ge=1)] = 12,
    merged: Annotated[int, Field(ge=1)] | None = None,
) -> Backbone:
    """Build a backbone from a checkpoint and load its weights.

    Everything that shows in the file is read from it; the arguments are what does not, or what is
    to be otherwise.

    Args:
        checkpoint: File of one of our runs, or of the official release.
        pooling: Levels and grouping; those of our checkpoint, or 64, 32, 16 and 8 by default.
        sampling: How superpixels read the grid; that of our checkpoint, or "nearest" by default.
        mask_empty: False reproduces the official treatment of empty superpixels.
        heads: Attention heads of an official model; ours are known.
        merged: Take an official superpixel ViT for a ToMe that merges so many tokens in each block;
            their weights have the same names.

    Raises:
        UserError: The file cannot be read, is in neither layout, or misses or adds weights.
    """
    loaded = read_checkpoint(str(checkpoint))
    if CONFIG in loaded:
        return _build_own(loaded, pooling, sampling, mask_empty)
    if is_official(loaded):
        return build_official(
            loaded,
            pooling=pooling,
            sampling=sampling,
            mask_empty=mask_empty,
            heads=heads,
            merged=merged,
        )
    raise UserError(
        f"{checkpoint} is neither a checkpoint of a run of ours nor in a layout of the official "
        f"release; it holds {', '.join(list(loaded)[:4]) or 'nothing'}"
    )


def build_official(
    checkpoint: Mapping[str, Any],
    *,
    pooling: Pooling | None = None,
    sampling: Sampling | None = None,
    mask_empty: bool = True,
    heads: int = 12,
    merged: int | None = None,
) -> Backbone:
    """Build a backbone from a loaded official checkpoint; see `load_pretrained`."""
    official = convert_official(checkpoint)
    if len(official.depths) == 1:  # a baseline
        pooling = None if merged or official.family == "vit" else Pooling(())
    model = create_model(
        Size(official.dim, official.depths, heads, "tome" if merged else official.family),
        pooling=pooling,
        fusion=official.fusion,
        sampling=sampling or "nearest",
        positions=official.positions,
        image_size=official.image_size,
        merged=merged or 16,
        mask_empty=mask_empty,
    )
    state = official.state
    if merged:
        state = {name.replace("stages.0.", "blocks."): value for name, value in state.items()}
    load_strictly(model, state)
    if official.dropped:
        log.info("not a part of the backbone, left out: %s", summary(official.dropped))
    return model


def _build_own(
    checkpoint: Mapping[str, Any],
    pooling: Pooling | None,
    sampling: Sampling | None,
    mask_empty: bool,
) -> Backbone:
    config = ModelConfig.from_dict(checkpoint[CONFIG])
    if pooling is None:
        pooling = Pooling.of(config.levels, config.grouping, config.grouping_options)
    grouping, options = pooling.described()
    config = replace(
        config,
        levels=tuple(pooling.levels),
        grouping=grouping,
        grouping_options=options,
        sampling=sampling or config.sampling,
        mask_empty=mask_empty,
    )
    model = build_backbone(config, pooling)
    weights = checkpoint["state_dict"]
    state = {k.removeprefix(_PREFIX): v for k, v in weights.items() if k.startswith(_PREFIX)}
    load_strictly(model, state)
    return model


def load_strictly(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict; every name and shape must agree.

    Raises:
        UserError: Lists the names that are missing, unexpected or of another shape.
    """
    own = model.state_dict()
    problems = {
        "missing": sorted(own.keys() - state.keys()),
        "unexpected": sorted(state.keys() - own.keys()),
        "of another shape": [
            f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
            for name in sorted(own.keys() & state.keys())
            if own[name].shape != state[name].shape
        ],
    }
    if any(problems.values()):
        raise UserError(
            "the checkpoint does not fit the model: "
            + "; ".join(f"{kind}: {summary(names)}" for kind, names in problems.items() if names)
        )
    model.load_state_dict(dict(state))


def summary(names: Sequence[str], shown: int = 4) -> str:
    """How many names there are, and the first few of them."""
    return f"{len(names)} ({', '.join(names[:shown])}{', ...' if len(names) > shown else ''})"
