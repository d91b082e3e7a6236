"""Reads checkpoints in the layouts of the official CAST release."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from cast_exp.errors import UserError, listing
from cast_exp.models.positions import PositionKind

# Where each kind of run keeps its state dict, and what it puts before the names of the backbone.
CONTAINERS = ("state_dict", "model", "embedding_model", "teacher")
PREFIXES = ("base_encoder.", "encoder.", "vit_backbone.", "backbone.")
FINETUNED = "prediction_model"  # of a fine-tuning on VOC: its classifier, beside the backbone
DECODER = "decoder."  # before the names of Segmenter's decoder
AVERAGE = "model_ema"  # the state dict of the moving average, beside "model"

# Official name -> ours. The stem's convolutions and norms alternate with ReLUs, hence // 3.
RENAMES: tuple[tuple[str, str], ...] = (
    (r"pool(\d)\.pool_block\.centroid_fc\.attn\.(.+)", "groupings.{0}.attention.{1}"),
    (r"pool(\d)\.pool_block\.centroid_fc\.(.+)", "groupings.{0}.{1}"),
    (r"pool(\d)\.pool_block\.fc1\.(.+)", "groupings.{0}.values.{1}"),
    (r"pool(\d)\.pool_block\.fc2\.(.+)", "groupings.{0}.output.{1}"),
)
_OF_DECODER = {
    "cls_emb": "class_tokens",
    "proj_dec": "project",
    "proj_patch": "superpixel_matrix",
    "proj_classes": "class_matrix",
    "decoder_norm": "norm",
    "mask_norm": "score_norm",
}
NORM = re.compile(r"block_fusion\.proj_blocks\.0\.norm\.(.+)")
FUSE = re.compile(r"block_fusion\.proj_blocks\.2\.(.+)")
STEM_END = "patch_embed.proj.12.weight"
STEM = re.compile(r"patch_embed\.proj\.(\d{1,2})\.(.+)")
BLOCK = re.compile(r"blocks(\d)\.(\d{1,2})\.(.+)")

_AXES = {"cls_token": 3, "pos_embed": 3, "pe_token": 3, STEM_END: 4}


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
        left_out: Names that are no part of the backbone (heads, momentum encoder, optimiser).
    """

    family: Literal["cast", "vit"]
    state: dict[str, Tensor]
    dim: int
    depths: tuple[int, ...]
    positions: PositionKind
    image_size: int
    fusion: bool
    left_out: tuple[str, ...]


def is_official(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a loaded checkpoint holds a backbone in an official layout."""
    return any("patch_embed.proj.0.weight" in str(name) for name in _unwrap(checkpoint)[0])


def convert_official(checkpoint: Mapping[str, Any]) -> OfficialBackbone:
    """Convert a loaded official checkpoint, or the bare state dict of a backbone.

    Family, variant, width, depths, position grid and the numbering of blocks (across the model or
    within each stage) follow from names and shapes.

    Raises:
        UserError: It is not a backbone in an official layout, or has names that none has.
    """
    names, left_out = backbone_names(checkpoint)
    if any(BLOCK.fullmatch(name) for name in names):
        family: Literal["cast", "vit"] = "cast"
    else:  # the baselines have no stages
        names = {re.sub(r"^blocks\.", "blocks1.", name): value for name, value in names.items()}
        family = "cast" if "pe_token" in names else "vit"
    blocks = sorted({(int(m[1]), int(m[2])) for m in map(BLOCK.fullmatch, names) if m})
    if not blocks or not {"cls_token", "pos_embed", STEM_END} <= names.keys():
        raise UserError(
            "the checkpoint is not a backbone of the official release: it lacks blocks, cls_token, "
            f"pos_embed or the stem; it starts with {listing(list(names)[:4]) or 'nothing'}"
        )
    for name, axes in _AXES.items():
        if name in names and names[name].ndim != axes:
            raise UserError(f"the checkpoint's {name} is no array of {axes} axes; it is damaged")
    local = _numbering(blocks)
    names = _without_copies(names, blocks)
    kind: PositionKind = "sincos" if "pe_token" in names else "learned"
    grid, cls = _split_positions(names, kind)
    state = {"tokens.positions.grid": grid, "tokens.positions.cls": cls}
    unknown = []
    for name, value in names.items():
        renamed = _rename(name, local)
        if renamed is not None:
            state[renamed] = value.flatten(1) if name == STEM_END else value
        elif name.startswith("head."):
            left_out.append(name)
        elif name not in ("pos_embed", "pe_token"):
            unknown.append(name)
    if unknown:
        raise UserError(
            f"the checkpoint has weights that no backbone of the official release has: "
            f"{listing(unknown)}"
        )
    if family == "vit":
        kind, stride = "sincos", 16
        state = {_of_vit(name): value for name, value in state.items()}
    else:
        stride = 8
    return OfficialBackbone(
        family=family,
        state=state,
        dim=names["cls_token"].size(-1),
        depths=tuple(Counter(stage for stage, _ in blocks).values()),
        positions=kind,
        image_size=stride * grid.size(2),
        fusion=any(NORM.fullmatch(name) for name in names),
        left_out=tuple(left_out),
    )


def official_head(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights of the head in a loaded official checkpoint, without what precedes their names.

    In contrastive pretraining it is the projector of the query encoder, elsewhere a classifier;
    empty if there is none, or, in a distilled DeiT, two that work together.
    """
    names, _ = backbone_names(checkpoint)
    if "head_dist.weight" in names:
        return {}
    return {k.removeprefix("head."): v for k, v in names.items() if k.startswith("head.")}


def official_segmentation_head(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights of the head of an official fine-tuning for segmentation under the names of ours.

    On VOC it is a classifier, whose convolutions of size 1 are linear layers; by Segmenter, a mask
    transformer. Empty if there is neither.
    """
    inside = checkpoint.get(FINETUNED)
    state = {
        name.removeprefix("semantic_classifier."): value.flatten(1) if value.ndim == 4 else value
        for name, value in (inside.items() if isinstance(inside, Mapping) else ())
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if {"0.weight", "3.weight"} <= state.keys():
        return state
    state = {
        _of_decoder(name.removeprefix("module.").removeprefix(DECODER)): value
        for name, value in _unwrap(checkpoint)[0].items()
        if isinstance(name, str) and isinstance(value, Tensor) and name.find(DECODER) in (0, 7)
    }
    return state if {"class_tokens", "score_norm.weight"} <= state.keys() else {}


def official_average(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """A loaded official checkpoint with the moving average in the place of what was trained.

    Only those of supervised training keep one, as `model_ema`; None for any other.
    """
    average = checkpoint.get(AVERAGE)
    if not isinstance(average, Mapping) or not average:
        return None
    others = {name: value for name, value in checkpoint.items() if name != AVERAGE}
    return {**others, CONTAINERS[0]: average}  # which is looked for first


def _unwrap(checkpoint: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """The state dict in a checkpoint, and what else is there that may hold tensors."""
    for container in CONTAINERS:
        if isinstance(inside := checkpoint.get(container), Mapping):
            others = [name for name, value in checkpoint.items() if isinstance(value, Mapping)]
            return inside, [name for name in others if name != container]
    return checkpoint, []


def backbone_names(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """Weights under the names they have in the backbone, and the names of what is left out."""
    inside, left_out = _unwrap(checkpoint)
    state = {
        name.removeprefix("module."): value
        for name, value in inside.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    for prefix in PREFIXES:
        if any(name.startswith(prefix) for name in state):
            left_out += [name for name in state if not name.startswith(prefix)]
            state = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    return state, left_out


def _numbering(blocks: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Index within its stage of each (stage, index), whichever way the file numbers them.

    Raises:
        UserError: There are gaps.
    """
    local = {
        (stage, index): sum(s == stage and i < index for s, i in blocks) for stage, index in blocks
    }
    across = [index for _, index in blocks] == list(range(len(blocks)))
    stages = sorted({stage for stage, _ in blocks})
    if not (across or all(index == local[stage, index] for stage, index in blocks)) or (
        stages != list(range(1, len(stages) + 1))
    ):
        found = listing(f"blocks{stage}.{index}" for stage, index in blocks)
        raise UserError(f"the checkpoint lacks blocks; it has only {found}")
    return local


def _without_copies(
    names: dict[str, Tensor], blocks: Sequence[tuple[int, int]]
) -> dict[str, Tensor]:
    """Some variants store each block twice: in its stage, and as `blocks.<number>`.

    Raises:
        UserError: The two differ.
    """
    places = {str(number): place for number, place in enumerate(blocks)}
    kept = {}
    for name, value in names.items():
        place = places.get(name.split(".")[1]) if name.startswith("blocks.") else None
        if place is None:
            kept[name] = value
            continue
        stage, index = place
        original = f"blocks{stage}.{index}.{name.split('.', 2)[-1]}"
        if original not in names or not _same(names[original], value):
            raise UserError(
                f"the checkpoint stores blocks twice, but {listing([name])} and "
                f"{listing([original])} differ; it is damaged"
            )
    return kept


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _rename(name: str, local: Mapping[tuple[int, int], int]) -> str | None:
    if name in ("cls_token", "norm.weight", "norm.bias"):
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


def _of_decoder(name: str) -> str:
    """Name of a weight of Segmenter's decoder in ours."""
    first, dot, rest = name.partition(".")
    return _OF_DECODER.get(first, first) + dot + rest


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
    if not side or side * side != codes.size(1):
        raise UserError(f"the checkpoint's {codes.size(1)} position codes are not a square grid")
    return codes.transpose(1, 2).reshape(1, -1, side, side).contiguous(), cls.clone()
