"""Loads a backbone from a checkpoint: our own or the official release's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cast_exp.errors import UserError
from cast_exp.models.cast import CAST
from cast_exp.models.official import convert_official, is_official, read_checkpoint
from cast_exp.models.pooling import Pooling
from cast_exp.models.registry import Size, create_model
from cast_exp.models.tokens import Sampling


def load_pretrained(
    checkpoint: str | Path,
    *,
    heads: int = 12,
    pooling: Pooling | None = None,
    sampling: Sampling | None = None,
    mask_empty: bool = True,
) -> CAST:
    """Build a backbone from an official checkpoint and load its weights.

    Everything that shows in names and shapes is read from them; the arguments are what does not.

    Args:
        checkpoint: File of the official release.
        heads: Attention heads.
        pooling: Levels; 64, 32, 16 and 8 by default, the official number for image-level tasks.
        sampling: How superpixels read the grid; "nearest" by default.
        mask_empty: False reproduces the official treatment of empty superpixels.

    Raises:
        UserError: The file cannot be read, is not an official CAST, or misses or adds weights.
    """
    loaded = read_checkpoint(str(checkpoint))
    if not is_official(loaded):
        raise UserError(f"{checkpoint} is not in a layout of the official release")
    return build_official(
        loaded, heads=heads, pooling=pooling, sampling=sampling, mask_empty=mask_empty
    )


def build_official(
    checkpoint: dict[str, Any],
    *,
    heads: int = 12,
    pooling: Pooling | None = None,
    sampling: Sampling | None = None,
    mask_empty: bool = True,
) -> CAST:
    """Build a backbone from a loaded official checkpoint; see `load_pretrained`."""
    official = convert_official(checkpoint)
    model = create_model(
        Size(official.dim, official.depths, heads),
        pooling=pooling or Pooling(),
        fusion=official.fusion,
        sampling=sampling or "nearest",
        positions=official.positions,
        position_grid=official.position_grid,
        mask_empty=mask_empty,
    )
    load_strictly(model, official.state)
    return model


def load_strictly(model: nn.Module, state: dict[str, Tensor]) -> None:
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
        raise UserError("the checkpoint does not fit the model: " + describe_mismatch(problems))
    model.load_state_dict(state)


def describe_mismatch(problems: Mapping[str, Sequence[str]], shown: int = 4) -> str:
    """One line that counts the mismatched names of each kind and shows the first few."""
    return "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:shown])}{', ...' if len(names) > shown else ''})"
        for kind, names in problems.items()
        if names
    )
