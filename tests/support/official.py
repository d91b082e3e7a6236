"""Checkpoints in every layout of the official release, at the true shapes of CAST-S."""

import argparse
import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from support.golden import fill
from torch import Tensor

from cast_exp.checkpoints import load_pretrained
from cast_exp.models import Backbone
from cast_exp.models.positions import sincos_grid

Shapes = dict[str, list[int]]
DIM, DEPTHS = 384, (3, 3, 3, 2)

filled = cache(lambda name, *shape: fill(name, list(shape)))


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": [width], f"{name}.bias": [width]}


def batch_norm(name: str, width: int, affine: bool = True) -> Shapes:
    statistics = {f"{name}.running_mean": [width], f"{name}.running_var": [width]}
    scale = norm(name, width) if affine else {}
    return {**scale, **statistics, f"{name}.num_batches_tracked": []}


def linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": [outputs, inputs], f"{name}.bias": [outputs]}


def attention(name: str) -> Shapes:
    return linear(f"{name}.qkv", DIM, 3 * DIM) | linear(f"{name}.proj", DIM, DIM)


def block(name: str) -> Shapes:
    return {
        **norm(f"{name}.norm1", DIM),
        **attention(f"{name}.attn"),
        **norm(f"{name}.norm2", DIM),
        **linear(f"{name}.mlp.fc1", DIM, 4 * DIM),
        **linear(f"{name}.mlp.fc2", 4 * DIM, DIM),
    }


def pool(number: int) -> Shapes:
    name = f"pool{number}.pool_block"
    return {
        f"{name}.centroid_fc.bias": [DIM],
        **norm(f"{name}.centroid_fc.norm", DIM),
        **attention(f"{name}.centroid_fc.attn"),
        **norm(f"{name}.fc1.0", DIM),
        **linear(f"{name}.fc1.1", DIM, 4 * DIM),
        **norm(f"{name}.fc2.0", 4 * DIM),
        **linear(f"{name}.fc2.1", 4 * DIM, DIM),
    }


def stem() -> Shapes:
    shapes: Shapes = {}
    widths = (3, DIM // 8, DIM // 4, DIM // 2, DIM)
    for i in range(4):
        shapes[f"patch_embed.proj.{3 * i}.weight"] = [widths[i + 1], widths[i], 3, 3]
        shapes |= batch_norm(f"patch_embed.proj.{3 * i + 1}", widths[i + 1])
    shapes["patch_embed.proj.12.weight"] = [DIM, DIM, 1, 1]
    return shapes | {"patch_embed.proj.12.bias": [DIM]}


def backbone_shapes(
    variant: str, depths: tuple[int, ...] = DEPTHS, restart: bool | None = None
) -> Shapes:
    """Names and shapes of a backbone without a head.

    Args:
        variant: cast, cast_seg, cast_deit or cast_seg_deit, or the baselines vit and tome.
        depths: Blocks in each stage.
        restart: Whether blocks are numbered anew in each stage; as in the release by default.
    """
    shapes: Shapes = {"cls_token": [1, 1, DIM], "pos_embed": [1, 784, DIM], **stem()}
    if "deit" in variant:
        shapes["pos_embed"] = [1, 785, DIM]
    elif variant == "vit":
        shapes["pos_embed"] = [1, 197, DIM]
    else:
        shapes["pe_token"] = [1, 1, DIM]
    if variant != "cast_seg":
        shapes |= norm("norm", DIM)
        for number in range(sum(depths)):
            shapes |= block(f"blocks.{number}")
    if variant in ("vit", "tome"):
        return shapes
    if restart is None:
        restart = variant == "cast_seg"
    first = 0
    for stage, depth in enumerate(depths, start=1):
        for number in range(depth):
            shapes |= block(f"blocks{stage}.{number if restart else first + number}")
        shapes |= pool(stage)
        first += depth
    if "seg" in variant:
        shapes |= batch_norm("block_fusion.proj_blocks.0.norm", 4 * DIM)
        shapes |= linear("block_fusion.proj_blocks.2", 4 * DIM, DIM)
    return shapes


def projector(name: str) -> Shapes:
    return {
        f"{name}.0.weight": [4096, DIM],
        **batch_norm(f"{name}.1", 4096),
        f"{name}.3.weight": [4096, 4096],
        **batch_norm(f"{name}.4", 4096),
        f"{name}.6.weight": [256, 4096],
        **batch_norm(f"{name}.7", 256, affine=False),
    }


def predictor(name: str) -> Shapes:
    return {
        f"{name}.0.weight": [4096, 256],
        **batch_norm(f"{name}.1", 4096),
        f"{name}.3.weight": [256, 4096],
        **batch_norm(f"{name}.4", 256, affine=False),
    }


def backbone_state(variant: str, **options: object) -> dict[str, Tensor]:
    """Weights by the rule of the golden files; tensors are shared between calls."""
    depths = options.get("depths", DEPTHS)
    shapes = backbone_shapes(variant, **options)  # type: ignore[arg-type]
    firsts = [sum(depths[:stage]) for stage in range(len(depths))]  # type: ignore[index, arg-type]
    restart = "blocks2.0.norm1.weight" in shapes
    state = {}
    for name, shape in shapes.items():
        if match := re.fullmatch(r"blocks(\d)\.(\d+)\.(.+)", name):
            first = firsts[int(match[1]) - 1] if restart else 0
            name_of_fill = f"blocks.{first + int(match[2])}.{match[3]}"
        else:
            name_of_fill = name
        state[name] = filled(name_of_fill, *shape)
    if "pe_token" in shapes:
        state["pos_embed"] = sincos_grid(DIM, 28, 28).flatten(2).mT.contiguous()
        state["pe_token"] = torch.zeros(1, 1, DIM)
    elif variant == "vit":
        grid = sincos_grid(DIM, 14, 14).flatten(2).mT
        state["pos_embed"] = torch.cat([torch.zeros(1, 1, DIM), grid], 1)
    return state


def blank(shapes: Shapes) -> dict[str, Tensor]:
    """Weights that do not matter and take no space."""
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def moco(state: dict[str, Tensor]) -> dict[str, object]:
    encoder = state | blank(projector("head"))
    weights = {
        **prefixed("module.base_encoder.", encoder),
        **prefixed(
            "module.momentum_encoder.",
            {k: v + 1 if k == "cls_token" else v for k, v in encoder.items()},
        ),
        **blank(predictor("module.predictor")),
    }
    optimizer: dict[str, object] = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}
    scaler = {"scale": 65536.0}
    return {
        "epoch": 100,
        "arch": "a",
        "state_dict": weights,
        "optimizer": optimizer,
        "scaler": scaler,
    }


def linear_probe(state: dict[str, Tensor]) -> dict[str, object]:
    weights = prefixed("module.", state | blank(linear("head", DIM, 1000)))
    best = torch.tensor(68.1)
    return {"epoch": 90, "arch": "a", "state_dict": weights, "best_acc1": best, "optimizer": {}}


def deit(state: dict[str, Tensor]) -> dict[str, object]:
    weights = state | blank(linear("head", DIM, 1000))
    return {
        "model": weights,
        "optimizer": {"state": {}},
        "lr_scheduler": {"base_values": [1e-3]},
        "epoch": 299,
        "model_ema": {name: torch.zeros(1) for name in weights},
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(model="cast_small", lr=1e-3, distributed=True),
    }


def segmenter(state: dict[str, Tensor]) -> dict[str, object]:
    decoder = linear("decoder.proj_dec", DIM, DIM) | {"decoder.cls_emb": [1, 150, DIM]}
    weights = prefixed("encoder.", state | blank(linear("head", DIM, 1000))) | blank(decoder)
    return {"model": weights, "optimizer": {}, "n_cls": 150, "lr_scheduler": {}, "epoch": 63}


def spml(state: dict[str, Tensor]) -> dict[str, object]:
    classifier = linear("semantic_classifier.0", DIM, DIM)
    return {
        "embedding_model": prefixed("vit_backbone.", state),
        "prediction_model": blank(classifier),
    }


LAYOUTS = {
    "moco": (moco, "cast"),
    "linear_probe": (linear_probe, "cast"),
    "deit": (deit, "cast_deit"),
    "segmenter": (segmenter, "cast_seg_deit"),
    "spml": (spml, "cast_seg"),
    "retrieval": (moco, "cast_seg"),
}


def official_name(ours: str, restart: bool, depths: tuple[int, ...] = DEPTHS) -> str:
    """Where the official release keeps a weight of our CAST, other than position codes."""
    if match := re.fullmatch(r"stages\.(\d)\.(\d+)\.(.+)", ours):
        stage, index = int(match[1]), int(match[2])
        return f"blocks{stage + 1}.{index + (0 if restart else sum(depths[:stage]))}.{match[3]}"
    if match := re.fullmatch(r"tokens\.stem\.convs\.(\d)\.(conv|norm)\.(.+)", ours):
        return f"patch_embed.proj.{3 * int(match[1]) + (match[2] == 'norm')}.{match[3]}"
    if match := re.fullmatch(r"groupings\.(\d)\.(\w+)(?:\.(.+))?", ours):
        pool_block = f"pool{int(match[1]) + 1}.pool_block"
        inside = {"values": "fc1", "output": "fc2", "attention": "centroid_fc.attn"}
        part = inside.get(match[2], f"centroid_fc.{match[2]}")
        return ".".join(filter(None, (pool_block, part, match[3])))
    for start, official in (
        ("tokens.stem.projection", "patch_embed.proj.12"),
        ("fusion.norm", "block_fusion.proj_blocks.0.norm"),
        ("fusion.projection", "block_fusion.proj_blocks.2"),
    ):
        if ours.startswith(start):
            return ours.replace(start, official)
    return ours


def build_official(checkpoint: dict[str, Any], **options: Any) -> Backbone:
    """Load a checkpoint by way of a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        torch.save(checkpoint, path)
        return load_pretrained(path, **options)
