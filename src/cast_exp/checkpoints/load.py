"""Loads a backbone from a checkpoint: of ours, of the official release, or a ViT of others."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from cast_exp.checkpoints.files import (
    AVERAGE,
    CONFIG,
    PREFIX,
    best_weights,
    read_checkpoint,
    weights_of,
)
from cast_exp.checkpoints.fit import build_to_fit, load_strictly, require_fit, shapes_of
from cast_exp.checkpoints.foreign import Normalization, convert_foreign, is_foreign
from cast_exp.checkpoints.hub import PREFIX as HUB
from cast_exp.checkpoints.hub import fetch_from_hub
from cast_exp.checkpoints.official import (
    FINETUNED,
    convert_official,
    is_official,
    official_average,
    official_head,
)
from cast_exp.checkpoints.published import PUBLISHED
from cast_exp.errors import UserError, listing
from cast_exp.models.backbone import Backbone
from cast_exp.models.config import ModelConfig, VariableOptions, takes
from cast_exp.models.heads import ContrastiveMLP
from cast_exp.models.pooling import Pooling
from cast_exp.models.positions import resize_grid
from cast_exp.models.registry import build_backbone

log = logging.getLogger(__name__)

Weights = Literal["trained", "average"]
"""What was trained, or the moving average of it that supervised training keeps and validates."""

_DENSE_LEVELS = (320, 160, 80, 40)  # of the release for VOC, ADE20K and Pascal Context
_PROJECTOR = "projector."
# What dense and recognition variants do not share.
_VARIANT = ("fusion.", "norm.")


@dataclass(frozen=True)
class Stored:
    """A backbone as a file has it.

    Attributes:
        config: What it is.
        state: Its weights.
        left_out: Names in the file that are no part of it.
    """

    config: ModelConfig
    state: Mapping[str, Tensor]
    left_out: tuple[str, ...]


@takes(VariableOptions, optional=True)
def load_pretrained(
    checkpoint: str | Path,
    *,
    weights: Weights = "trained",
    pooling: Pooling | None = None,
    heads: Annotated[int, Field(ge=1)] | None = None,
    normalization: Normalization | None = None,
    merged: Annotated[int, Field(ge=1)] | None = None,
    **changes: Any,
) -> Backbone:
    """Build a backbone from a checkpoint and load its weights.

    Everything that shows in the file is read from it; the arguments are what does not, or what is
    to be otherwise. One line of the log says what was left out and what is new.

    Args:
        checkpoint: A run of ours (its folder, for its best weights, or a checkpoint in it); a file
            of the official release; a ViT of timm, DINO, DINOv2, MoCo-v3, DeiT or MAE; a converted
            model (its folder or `.safetensors` file); the name of one of the published weights
            (`cast-exp zoo list`), or "hf-hub:NAME" for a model on Hugging Face, of ours or of timm,
            which are downloaded then.
        weights: "average" takes the moving average of the weights and batch statistics; runs of
            supervised training keep one, and so do the official ones.
        pooling: Levels and grouping; those of our checkpoint, or the official ones by default: 64,
            32, 16 and 8, of models that were fine-tuned for segmentation 320, 160, 80 and 40.
        heads: Attention heads of an official model, 12 if not given, or of a ViT of others, see
            `convert_foreign`; ours are known.
        normalization: Mean and deviation of the inputs that a ViT of others was trained with; if
            not given, what timm's card says, or else ImageNet's. It becomes part of the stem.
        merged: Take an official superpixel ViT for a ToMe that merges so many tokens in each block;
            their weights have the same names.
        changes: Options of `VariableOptions` that are to be otherwise; None or left out for that of
            our checkpoint, or else for the default. `fusion=True` adds a fusion block, newly
            initialised, to a model for recognition, False takes it from a dense one; for another
            `image_size` the position codes are resized bicubically; `mask_empty=False` reproduces
            the official treatment of empty superpixels.

    Raises:
        UserError: The file cannot be read or downloaded, is in no known layout, keeps no average,
            or misses or adds weights.
    """
    loaded = read_checkpoint(locate(checkpoint))
    kept = official_average(loaded) if weights == "average" else loaded
    if CONFIG in loaded:
        stored = _own(loaded, AVERAGE if weights == "average" else PREFIX)
    elif is_official(loaded):
        stored = _official(kept, heads or 12, merged) if kept else None
    elif is_foreign(loaded):
        stored = Stored(*convert_foreign(kept, heads, normalization)) if kept else None
    else:
        raise UserError(
            f"{checkpoint} is neither a checkpoint of a run of ours nor in a layout of the "
            "official release, nor a ViT of patches; it holds "
            + (listing(list(loaded)[:4]) or "nothing")
        )
    if stored is None:
        raise UserError(
            f"{checkpoint} keeps no average of its weights, as only supervised training does; "
            "take the trained ones"
        )
    return _rebuild(
        stored,
        str(checkpoint) if weights == "trained" else f"the average in {checkpoint}",
        pooling,
        changes,
    )


def load_projector(checkpoint: str | Path) -> nn.Module | None:
    """Build the projection head that a backbone was pretrained with by contrast.

    Its widths are read from the file. Batch norms keep the running statistics of pretraining, so in
    evaluation mode it applies to any vectors (N, C), as of superpixels.

    Args:
        checkpoint: See `load_pretrained`.

    Returns:
        The head in evaluation mode, (N, C) -> (N, D); None if the file has none, as after
        supervised training, or of a converted model.

    Raises:
        UserError: The file cannot be read, or its head is no such projector.
    """
    loaded = read_checkpoint(locate(checkpoint))
    state = weights_of(loaded, _PROJECTOR) if CONFIG in loaded else official_head(loaded)
    matrices = [value for _, value in sorted(state.items()) if value.ndim == 2]
    if "0.weight" not in state or not matrices:
        return None
    widths = [matrices[0].size(1), *(len(matrix) for matrix in matrices)]
    return build_to_fit(lambda: ContrastiveMLP(*widths), state).eval()


def locate(checkpoint: str | Path) -> Path:
    """Path of a checkpoint: of the best of a run's folder, downloaded if need be.

    Raises:
        UserError: There is none of this path or name.
    """
    path, name = Path(checkpoint), str(checkpoint)
    if not name:
        raise UserError("the name of the checkpoint is empty; give a path or a published name")
    if (path / "checkpoints").is_dir():
        return best_weights(path)
    if path.exists():
        return path
    if name in PUBLISHED:
        return PUBLISHED[name].fetch()
    if name.startswith(HUB):
        return fetch_from_hub(name.removeprefix(HUB))
    near = get_close_matches(name, PUBLISHED, n=1)
    hint = f"did you mean {near[0]}?" if near else "check the path"
    raise UserError(f"no checkpoint at {checkpoint}; {hint}")


def _own(checkpoint: Mapping[str, Any], prefix: str) -> Stored | None:
    """The backbone whose names have a prefix; None if it is that of an average and none has it."""
    state = weights_of(checkpoint, prefix)
    if prefix == AVERAGE and not state:
        return None
    left_out = tuple(name for name in weights_of(checkpoint, "") if not name.startswith(prefix))
    return Stored(ModelConfig.from_dict(checkpoint[CONFIG]), state, left_out)


def _official(checkpoint: Mapping[str, Any], heads: int, merged: int | None) -> Stored:
    official = convert_official(checkpoint)
    # Of VOC and of the Segmenter. Pretraining on COCO, dense as well, reads the nearest cell.
    dense = FINETUNED in checkpoint or (official.fusion and official.positions == "learned")
    state = official.state
    if merged:
        state = {name.replace("stages.0.", "blocks."): value for name, value in state.items()}
    levels = _DENSE_LEVELS if dense else tuple(Pooling().levels)
    config = {
        "family": "tome" if merged else official.family,
        "dim": official.dim,
        "depths": official.depths,
        "heads": heads,
        "levels": levels if len(official.depths) > 1 else (),
        "fusion": official.fusion,
        "positions": official.positions,
        "image_size": official.image_size,
        "merged": merged or 16,
        "sampling": "interpolated" if dense else "nearest",
    }
    return Stored(ModelConfig.from_dict(config), state, official.left_out)


def _rebuild(
    stored: Stored, source: str, pooling: Pooling | None, changes: Mapping[str, Any]
) -> Backbone:
    """Build the stored backbone with some of its config changed, and load its weights."""
    was = stored.config
    pooling = pooling or Pooling.of(was.levels, was.grouping, was.grouping_options)
    if was.levels and len(pooling.levels) != len(was.levels):
        raise UserError(
            f"pooling.levels={list(pooling.levels)}: {source} groups {len(was.levels)} times, to "
            f"{list(was.levels)}; set as many levels, or model.pooling=null for its own"
        )
    given = {name: value for name, value in changes.items() if value is not None}
    config = replace(was, **pooling.described(), **given)
    if sum(config.depths) > len(stored.state):
        raise UserError(
            f"{source} tells of {sum(config.depths)} blocks, but has only {len(stored.state)} "
            "weights; it is damaged"
        )
    build = partial(
        build_backbone,
        config,
        pooling,
        "xavier" if config.positions == "sincos" else "truncated_normal",
    )
    own = shapes_of(build)
    state = dict(stored.state)
    left_out = [name for name in state if name.startswith(_VARIANT) and name not in own]
    new = [name for name in own if name.startswith(_VARIANT) and name not in state]
    if config.fusion == was.fusion:
        new = []
    state = {k: v for k, v in state.items() if k not in left_out}
    own = {k: v for k, v in own.items() if k not in new}
    said = []
    if gone := [*stored.left_out, *left_out]:
        said.append(f"left out {counted(gone)}")
    if new:
        said.append(f"newly initialised {counted(new)}")
    for name in own.keys() & state.keys():
        if name.endswith("positions.grid") and config.image_size != was.image_size:
            grid = state[name]
            if grid.ndim != 4 or grid.numel() == 0:
                continue  # which does not fit, as will be told
            state[name] = resize_grid(grid.float(), *own[name].shape[-2:])
            said.append(f"position codes resized from {was.image_size} to {config.image_size} px")
    require_fit(own, state)
    model = build()
    load_strictly(model, {name: model.state_dict()[name] for name in new} | state)
    log.info("loaded %s: %s", source, "; ".join(said) or "all of it")
    return model


def counted(names: Iterable[str]) -> str:
    """Names by what they start with, and how many there are of each: "head (2), predictor (10)"."""
    numbers = Counter(name.split(".")[0] for name in names)
    return listing(f"{name} ({n})" if n > 1 else name for name, n in numbers.items())
