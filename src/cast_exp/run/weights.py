"""Which weights a command is about, in terms of its overrides."""

import inspect
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from cast_exp.checkpoints.files import best_weights, epoch_weights
from cast_exp.checkpoints.load import load_pretrained, locate
from cast_exp.checkpoints.published import PUBLISHED
from cast_exp.config import key_of, swept, values_of
from cast_exp.errors import UserError
from cast_exp.models import Backbone
from cast_exp.models.config import Size, VariableOptions, names_of
from cast_exp.run.build import build
from cast_exp.run.folder import RUN, rank
from cast_exp.run.saved import Saved
from cast_exp.run.tree import EVAL, compose

# The option of `model` for what a checkpoint holds, and the start of the names of others that do.
PRETRAINED = "pretrained"

# Of a run's overrides, those that say what it trained and how, not on what.
_OF_TRAINING = (
    *("model", "pooling", "optim", "regularizer", "decoder", "task", "trainer", "strategy"),
    *("precision", "callbacks", "logger", "debug", "sweep", "hydra", "finetune"),
    *("name", "seed", "checkpoint", "weights", "resume", "evaluate", "evaluate_untrained"),
)
_DATA = ("experiment", "data", "data@scenes")
# Overrides that decide which epochs are named.
_NAMES_EPOCHS = ("experiment", "run_epochs")
# What recipes change of a model that is loaded.
_BUILT = [name for name in names_of(VariableOptions) if name != "mask_empty"]
_MEANT = (("pooling", "pooling", "${pooling}"), ("compat", "mask_empty", "${compat.mask_empty}"))


def with_run(overrides: Sequence[str]) -> list[str]:
    """The overrides of an evaluation, with what `run=FOLDER` stands for; inside `config_tree`.

    That is the best checkpoint of the run and the data it was trained on; if an experiment or data
    are chosen, the checkpoint only: that of the epoch which `run_epochs` names, where it was kept.

    Raises:
        UserError: `run` is not the folder of a run with weights.
    """
    given = {key_of(text): text.partition("=")[2] for text in overrides}
    run = given.get("run")
    if run in (None, "null") or "checkpoint" in given:
        return list(overrides)
    folder = Path(str(run).strip("'\"")).expanduser().resolve()
    if not (folder / RUN).is_file():
        raise UserError(f"run={run} is not the folder of a run: it has no {RUN}")
    kept: list[str] = []
    saved = Saved.read(folder)
    if given.keys().isdisjoint(_DATA):
        kept = saved.checked(
            text
            for text in saved.overrides
            if (key := key_of(text)) not in given and key.partition(".")[0] not in _OF_TRAINING
        )
    chosen = _of_named_epoch(overrides, saved) or best_weights(folder)
    path = str(chosen).replace("'", "\\'")
    return [*kept, *overrides, f"checkpoint='{path}'"]


def with_checkpoint(
    config_name: str, config: DictConfig, overrides: Sequence[str], swept: Collection[str]
) -> list[str]:
    """The overrides with `model=pretrained` wherever there is a checkpoint: it decides what it is.

    Args:
        config_name: Name of the root config.
        config: What the overrides compose to.
        overrides: The command, which may sweep over checkpoints.
        swept: Keys that are swept.

    Raises:
        UserError: Another model is named than a checkpoint holds, or a checkpoint cannot be read.
    """
    if config.checkpoint is None and "checkpoint" not in swept:
        return list(overrides)
    named = [text for text in overrides if key_of(text) == "model"]
    names = [name for text in named for name in values_of(text) if not name.startswith(PRETRAINED)]
    given = [text for text in overrides if key_of(text) == "checkpoint"]
    checkpoints = [path for text in given for path in values_of(text)] or [config.checkpoint]
    for checkpoint in checkpoints:
        if checkpoint not in PUBLISHED:  # which are fetched when they are needed
            locate(checkpoint)
        for name in names:
            _require_agreement(config_name, name, checkpoint)
    kept = [text for text in overrides if text not in named]
    if named:  # what it would be without
        config = compose(config_name, [text for text in kept if key_of(text) not in swept])
    return kept if _is_loaded(config) else [*kept, f"model={PRETRAINED}"]


def model_overrides(config: DictConfig, overrides: Sequence[str], evaluates: bool) -> list[str]:
    """Overrides that fit `model` to what a checkpoint tells of itself.

    What a recipe says of a model to be built anew is left out, as the weights bring it along; in an
    evaluation, so is what a recipe of training would add to it. A choice of `pooling`
    or `compat` in the command is meant for the model, unless that says otherwise.
    """
    if not _is_loaded(config):
        return []
    options = inspect.signature(load_pretrained).parameters
    given = {key_of(text) for text in overrides}
    chosen = {key.partition(".")[0] for key in given}
    fit = [f"~model.{key}" for key in config.model if key != "_target_" and key not in options]
    if evaluates and config.get("task"):  # an experiment that trains
        fit += [f"model.{key}=null" for key in _BUILT if config.model.get(key) is not None]
    fit += [f"model.{key}={value}" for group, key, value in _MEANT if group in chosen]
    return [text for text in fit if key_of(text) not in given]


def _of_named_epoch(overrides: Sequence[str], saved: Saved) -> Path | None:
    """The checkpoint of the epoch that `run_epochs` names for what a run trained, if it was kept.

    What is swept is not looked at. Mistakes in the overrides are told with all others, later.
    """
    asked = [text for text in overrides if key_of(text).partition(".")[0] in _NAMES_EPOCHS]
    try:
        several = swept(asked)
        config = compose(EVAL, [text for text in asked if text not in several])
    except (UserError, HydraException):
        return None
    epochs, trained = config.get("run_epochs"), saved.choices.get("experiment", "")
    epoch = epochs.get(trained) if isinstance(epochs, DictConfig) else None
    if not isinstance(epoch, int):
        return None
    found = epoch_weights(saved.folder, epoch)
    note = "that of the published figure, is taken; run_epochs=null takes the best weights"
    if not found:
        note = "that of the published figure, was not kept; the best weights are taken"
    if rank() == 0:
        print(f"note: the checkpoint after {epoch} epochs, {note}", file=sys.stderr)
    return found


def _is_loaded(config: DictConfig) -> bool:
    return str(config.hydra.runtime.choices.model).startswith(PRETRAINED)


def _require_agreement(config_name: str, name: str, checkpoint: str) -> None:
    node = compose(config_name, [f"model={name}"]).model
    with torch.device("meta"):
        built: Backbone = build(node)
    stored = load_pretrained(checkpoint)
    fields = names_of(Size)
    if isinstance(OmegaConf.to_container(node)["pooling"], dict):  # type: ignore[index,call-overload]
        fields.append("grouping")  # not that of the group `pooling`, but one of its own
    differs = [
        f"{field} {there} instead of {wanted}"
        for field in fields
        if (there := getattr(stored.config, field)) != (wanted := getattr(built.config, field))
    ]
    if differs:
        raise UserError(
            f"model={name} is not what checkpoint={checkpoint} holds ({', '.join(differs)}); leave "
            "model= out, the checkpoint decides, or choose another checkpoint"
        )
