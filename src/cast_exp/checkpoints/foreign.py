"""Reads the vision transformers of timm, DINO, DINOv2, MoCo-v3, DeiT and MAE."""

import logging
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from timm.data import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
)
from torch import Tensor
from torch.nn import functional as F

from cast_exp.checkpoints.files import TIMM
from cast_exp.checkpoints.official import backbone_names
from cast_exp.errors import UserError
from cast_exp.models.config import ModelConfig, Pool

log = logging.getLogger(__name__)

Normalization = Literal["imagenet", "inception"]
"""Mean and deviation of the inputs: ImageNet's, or 0.5 and 0.5."""

_STATISTICS = {
    "imagenet": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
    "inception": (IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD),
}
_HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16}
"""Heads of the published ViTs whose heads are not 64 wide, by the width of their tokens."""

_STEM = "patch_embed.proj"
_QKV, _FC1, _FC2 = (f"blocks.0.{name}.weight" for name in ("attn.qkv", "mlp.fc1", "mlp.fc2"))
_AXES = {f"{_STEM}.weight": 4, "pos_embed": 3, _QKV: 2, _FC1: 2, _FC2: 2}
_Q_NORM = "blocks.0.attn.q_norm.weight"
_MORE_AXES = {f"{_STEM}.bias": 1, "reg_token": 3, "dist_token": 3, "cls_token": 3, _Q_NORM: 1}
_OF_WIDTH = (f"{_STEM}.bias", "reg_token", "dist_token", "cls_token", "pos_embed")
# Classifiers, projectors, decoders, and what stands for patches that are masked in pretraining.
_OTHERS = ("head", "pre_logits", "decoder", "mask_token")
_RENAMES = (
    (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),  # DINOv2 trains chunks of blocks
    (r"\.mlp\.w12\.", ".mlp.fc1."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
    (r"\.gamma_([12])$", r".ls\1.gamma"),  # DeiT III
    (r"^register_tokens$", "reg_token"),
)
_OURS = ((rf"^{_STEM}\.", "patches.projection."), (r"^fc_norm\.", "norm."))


def is_foreign(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a loaded checkpoint holds a ViT whose stem is one layer on square patches."""
    return _AXES.keys() <= _names(checkpoint)[0].keys()


def convert_foreign(
    checkpoint: Mapping[str, Any],
    heads: int | None = None,
    normalization: Normalization | None = None,
) -> tuple[ModelConfig, dict[str, Tensor], tuple[str, ...]]:
    """Convert a loaded checkpoint of a ViT.

    All but the arguments follows from names and shapes. Position codes of registers and of a
    distillation token are added to these tokens, and another normalisation of the inputs than
    ImageNet's, which is ours, becomes part of the stem.

    Args:
        checkpoint: One that `is_foreign`.
        heads: Attention heads; if not given, 12 for MoCo-v3, and otherwise heads of width 64 unless
            the file tells another or a published ViT of this width has others (ViT-H and larger).
        normalization: Of the inputs in its training; if not given, what timm's card says, or else
            ImageNet's.

    Returns:
        What it is, its weights under the names of `ViT`, and the names of what is left out.

    Raises:
        UserError: Shapes are not those of a ViT, or heads do not divide the width.
    """
    names, left_out = _names(checkpoint)
    for name, axes in (_AXES | _MORE_AXES).items():
        if name in names and (names[name].ndim != axes or 0 in names[name].shape):
            raise UserError(f"the checkpoint's {name} is no array of {axes} axes; it is damaged")
    dim, channels, patch_size, across = names[f"{_STEM}.weight"].shape
    if channels != 3 or patch_size != across:
        raise UserError(
            f"the checkpoint's ViT takes {channels} channels in patches of {patch_size} x {across} "
            "pixels; it should be 3 in squares"
        )
    widths = {name: names[name].size(-1) for name in _OF_WIDTH if name in names}
    if wrong := [name for name, width in widths.items() if width != dim]:
        raise UserError(f"the checkpoint's {wrong[0]} is not {dim} wide, as its patches are")
    heads = heads or _heads(checkpoint, names, left_out)
    if heads < 1 or dim % heads:
        raise UserError(f"{heads} heads do not divide a width of {dim}; set heads (model.heads)")
    mean, std = _inputs(checkpoint, normalization)
    _take_in_ours(names, mean, std)
    pool: Pool = "class" if "cls_token" in names else "mean"
    pool = "distilled" if "dist_token" in names else pool
    pool = "mean_then_norm" if "fc_norm.weight" in names else pool
    registers = [names.pop(name) for name in ("dist_token", "reg_token") if name in names]
    class_token = "cls_token" in names
    before = class_token + sum(tokens.size(1) for tokens in registers)
    grid, codes = _split_positions(names.pop("pos_embed"), class_token, before)
    told = {
        "family": "vit",
        "dim": dim,
        "depths": (len({name.split(".")[1] for name in names if name.startswith("blocks.")}),),
        "heads": heads,
        "positions": "learned",
        "image_size": patch_size * grid.size(-1),
        "patch_size": patch_size,
        "class_token": class_token,
        "registers": before - class_token,
        "pool": pool,
        "mlp_width": len(names[_FC1]),
        "swiglu": len(names[_FC1]) == 2 * names[_FC2].size(1),
        "layer_scale": "blocks.0.ls1.gamma" in names,
        "qkv_bias": _QKV.replace("weight", "bias") in names,
        "qk_norm": _Q_NORM in names,
    }
    config = ModelConfig.from_dict(told)
    state = _renamed(names, _OURS) | {"positions.grid": grid}
    if class_token:
        state["positions.cls"] = codes[:, :1]
    if registers:
        state["registers"] = torch.cat(registers, 1) + codes[:, class_token:]
    log.info(
        "a ViT of %d blocks with %d heads and patches of %d pixels, for inputs of mean %s and "
        "deviation %s; files do not tell heads and inputs: if others are right, set heads and "
        "normalization",
        *(config.depths[0], heads, patch_size, _short(mean), _short(std)),
    )
    return config, state, tuple(left_out)


def _names(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """Weights under timm's names, and the names of what is left out."""
    names, left_out = backbone_names(checkpoint)
    left_out = [*left_out, *(name for name in names if name.startswith(_OTHERS))]
    return _renamed({k: v for k, v in names.items() if not k.startswith(_OTHERS)}), left_out


def _renamed(
    names: Mapping[str, Tensor], renames: tuple[tuple[str, str], ...] = _RENAMES
) -> dict[str, Tensor]:
    renamed = {}
    for name, value in names.items():
        for pattern, form in renames:
            name = re.sub(pattern, form, name)
        renamed[name] = value
    return renamed


def _heads(checkpoint: Mapping[str, Any], names: Mapping[str, Tensor], left_out: list[str]) -> int:
    dim = names[_QKV].size(1)
    if (norm := names.get(_Q_NORM)) is not None:
        return dim // len(norm)
    # MoCo-v3's, whose ViT-S has heads of width 32; `arch` is in the files of its linear probe.
    moco = any(name.startswith("momentum_encoder.") for name in left_out)
    if moco or checkpoint.get("arch") in ("vit_small", "vit_base"):
        return 12
    return _HEADS.get(dim, max(dim // 64, 1))


def _split_positions(codes: Tensor, class_token: bool, before: int) -> tuple[Tensor, Tensor]:
    """Split position codes (1, L, C), which tokens before the patches may have or not.

    Returns:
        Codes of the patches, float (1, C, side, side), and of the tokens before them, all that
        there are, the class token first, float (1, before, C); zeros where the file has none.
    """
    for count in (0, int(class_token), before):
        side = math.isqrt(max(codes.size(1) - count, 0))
        if side and count + side * side == codes.size(1):
            grid = codes[:, count:].mT.reshape(1, -1, side, side).contiguous()
            return grid, F.pad(codes[:, :count], (0, 0, 0, before - count))
    raise UserError(f"the checkpoint's {codes.size(1)} position codes are not a square grid")


def _inputs(
    checkpoint: Mapping[str, Any], normalization: Normalization | None
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the inputs, float (3,) each."""
    card = checkpoint.get(TIMM)
    if normalization is None and isinstance(card, Mapping) and {"mean", "std"} <= card.keys():
        try:
            return torch.tensor(card["mean"]).float().view(3), torch.tensor(
                card["std"]
            ).float().view(3)
        except (TypeError, ValueError, RuntimeError):
            raise UserError("timm's card should have a mean and a std of three numbers") from None
    mean, std = _STATISTICS[normalization or "imagenet"]
    return torch.tensor(mean), torch.tensor(std)


def _take_in_ours(names: dict[str, Tensor], mean: Tensor, std: Tensor) -> None:
    """Have the stem take inputs that are normalised by ImageNet's statistics."""
    ours_mean, ours_std = _inputs({}, "imagenet")
    if torch.equal(mean, ours_mean) and torch.equal(std, ours_std):
        return
    weight = names[f"{_STEM}.weight"].float()
    shift = (weight * ((ours_mean - mean) / std)[:, None, None]).sum((1, 2, 3))
    names[f"{_STEM}.weight"] = weight * (ours_std / std)[:, None, None]
    names[f"{_STEM}.bias"] = names.get(f"{_STEM}.bias", torch.zeros_like(shift)) + shift


def _short(values: Tensor) -> str:
    return "/".join(f"{value:.3g}" for value in values.tolist())
