"""Reads checkpoints in the layouts of the official CAST release."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from cast_exp.errors import UserError
from cast_exp.models.positions import PositionKind

# Where each family keeps its state dict, and what it puts before the names of the backbone.
CONTAINERS = ("state_dict", "model", "embedding_model")
PREFIXES = ("base_encoder.", "encoder.", "vit_backbone.")

# Official name -> ours. The stem's convolutions and norms alternate with ReLUs, hence // 3.
RENAMES: tuple[tuple[str, str], ...] = (
    (r"pool(\d)\.pool_block\.centroid_fc\.attn\.(.+)", "groupings.{0}.attention.{1}"),
    (r"pool(\d)\.pool_block\.centroid_fc\.(.+)", "groupings.{0}.{1}"),
    (r"pool(\d)\.pool_block\.fc1\.(.+)", "groupings.{0}.values.{1}"),
    (r"pool(\d)\.pool_block\.fc2\.(.+)", "groupings.{0}.output.{1}"),
)
NORM = re.compile(r"block_fusion\.proj_blocks\.0\.norm\.(.+)")
FUSE = re.compile(r"block_fusion\.proj_blocks\.2\.(.+)")
STEM_END = "patch_embed.proj.12.weight"
STEM = re.compile(r"patch_embed\.proj\.(\d+)\.(.+)")
BLOCK = re.compile(r"blocks(\d)\.(\d+)\.(.+)")


@dataclass(frozen=True)
class OfficialBackbone:
    """A backbone read from an official checkpoint.

    Attributes:
        family: "cast" or "vit". ToMe has the weights of a CAST of one stage without groupings.
        state: State dict under the names of `CAST`.
        dim: Width of the tokens.
        depths: Blocks in each stage.
        positions: Kind of position codes.
        image_size: Side of the images whose position codes are stored.
        fusion: Whether there is a fusion block.
        dropped: Names that are no part of the backbone (heads, momentum encoder, optimiser).
    """

    family: Literal["cast", "vit"]
    state: dict[str, Tensor]
    dim: int
    depths: tuple[int, ...]
    positions: PositionKind
    image_size: int
    fusion: bool
    dropped: tuple[str, ...]


def is_official(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a loaded checkpoint holds a backbone in an official layout."""
    return any("patch_embed.proj.0.weight" in name for name in _unwrap(checkpoint))


def convert_official(checkpoint: Mapping[str, Any]) -> OfficialBackbone:
    """Convert a loaded official checkpoint, or the bare state dict of a backbone.

    Family, variant, width, depths, position grid and the numbering of blocks (across the model or
    within each stage) follow from names and shapes.

    Raises:
        UserError: It is not a backbone in an official layout.
    """
    names, dropped = _backbone_names(_unwrap(checkpoint))
    if not any(BLOCK.fullmatch(name) for name in names):  # the baselines have no stages
        names = {re.sub(r"^blocks\.", "blocks1.", name): value for name, value in names.items()}
        family: Literal["cast", "vit"] = "cast" if "pe_token" in names else "vit"
    else:
        family = "cast"
    blocks = sorted({(int(m[1]), int(m[2])) for m in map(BLOCK.fullmatch, names) if m})
    if not blocks or not {"cls_token", "pos_embed", STEM_END} <= names.keys():
        raise UserError(
            "the checkpoint is not a backbone of the official release: it lacks blocks, cls_token, "
            f"pos_embed or the stem; it starts with {', '.join(list(names)[:4]) or 'nothing'}"
        )
    local = {  # index of a block within its stage, whichever way they are numbered
        (stage, index): sum(s == stage and i < index for s, i in blocks) for stage, index in blocks
    }
    fusion = any(NORM.fullmatch(name) for name in names)
    state: dict[str, Tensor] = {}
    for name, value in names.items():
        if re.match(r"blocks\.", name):  # the same tensors under their stage's name follow
            continue
        renamed = _rename(name, local, fusion)
        if renamed is None:
            dropped.append(name)
        elif name == STEM_END:
            state[renamed] = value.flatten(1)
        else:
            state[renamed] = value
    kind: PositionKind = "sincos" if "pe_token" in names else "learned"
    grid, cls = _split_positions(names, kind)
    state["tokens.positions.grid"], state["tokens.positions.cls"] = grid, cls
    if family == "vit":
        kind, stride = "sincos", 16
        state = {_of_vit(name): value for name, value in state.items()}
    else:
        stride = 8
    return OfficialBackbone(
        family=family,
        state=state,
        dim=names["cls_token"].size(-1),
        depths=tuple(
            sum(s == stage for s, _ in blocks) for stage in sorted({s for s, _ in blocks})
        ),
        positions=kind,
        image_size=stride * grid.size(2),
        fusion=fusion,
        dropped=tuple(dropped),
    )


def _unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    for container in CONTAINERS:
        if isinstance(checkpoint.get(container), Mapping):
            checkpoint = checkpoint[container]
            break
    return {
        name.removeprefix("module."): value
        for name, value in checkpoint.items()
        if isinstance(value, Tensor)
    }


def _backbone_names(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    for prefix in PREFIXES:
        if any(name.startswith(prefix) for name in state):
            inside = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
            return inside, [name for name in state if not name.startswith(prefix)]
    return state, []


def _rename(name: str, local: dict[tuple[int, int], int], fusion: bool) -> str | None:
    if name == "cls_token" or (name.startswith("norm.") and not fusion):
        return name
    if match := BLOCK.fullmatch(name):
        stage, index = int(match[1]), int(match[2])
        return f"stages.{stage - 1}.{local[stage, index]}.{match[3]}"
    if match := STEM.fullmatch(name):
        index = int(match[1])
        if index == 12:
            return f"tokens.stem.projection.{match[2]}"
        return f"tokens.stem.convs.{index // 3}.{('conv', 'norm')[index % 3]}.{match[2]}"
    if match := NORM.fullmatch(name):
        return f"fusion.norm.{match[1]}"
    if match := FUSE.fullmatch(name):
        return f"fusion.projection.{match[1]}"
    for pattern, form in RENAMES:
        if match := re.fullmatch(pattern, name):
            return form.format(int(match[1]) - 1, match[2])
    return None


def _of_vit(name: str) -> str:
    """Name of a weight of a CAST without groupings in a ViT."""
    name = name.replace("tokens.positions.", "positions.").replace("tokens.stem.", "patches.")
    return name.replace("stages.0.", "blocks.")


def _split_positions(names: dict[str, Tensor], kind: PositionKind) -> tuple[Tensor, Tensor]:
    """Position grid (1, C, rows, columns) and the class token's code (1, 1, C)."""
    codes = names["pos_embed"]
    cls = names["pe_token"] if kind == "sincos" else codes[:, :1]
    codes = codes if kind == "sincos" else codes[:, 1:]
    side = math.isqrt(codes.size(1))
    if side * side != codes.size(1):
        raise UserError(f"the checkpoint's {codes.size(1)} position codes are not a square grid")
    return codes.transpose(1, 2).reshape(1, -1, side, side).contiguous(), cls.clone()


def read_checkpoint(path: str) -> dict[str, Any]:
    """Load a checkpoint file onto the CPU without running code from it.

    Raises:
        UserError: The file is missing, truncated or not a checkpoint.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}; check the path") from None
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as a checkpoint ({str(error).splitlines()[0][:160]}); "
            "is it complete?"
        ) from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path} holds a {type(loaded).__name__}, not a checkpoint")
    return loaded
