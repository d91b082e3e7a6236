"""Makes of a printed command one that takes seconds: the same choices, fewer and smaller things."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from cast_exp.checkpoints.published import PUBLISHED
from cast_exp.config import key_of, swept, values_of
from cast_exp.run.misfits import own_evaluation
from cast_exp.run.tree import EVAL, config_tree
from cast_exp.run.unread import only_asked, only_read
from cast_exp.run.weights import with_run

_LEVELS = [12, 8, 4, 2]
_HARDWARE = ("strategy", "trainer.devices")  # what a run here cannot have
_SMALL: dict[str, Any] = {
    "data.image_size": 64,
    "data.crop": 64,
    "data.short_side": 64,
    "data.stride": 48,
    "data.batch_size": 2,
    "data.workers": 0,
    "data.expected_images": None,
    "data.dataset.train": 8,
    "data.dataset.val": 8,
    "scenes.image_size": 64,
    "scenes.workers": 0,
    "scenes.expected_images": None,
    "scenes.superpixel.count": 36,
    "scenes.dataset.train": 8,
    "scenes.dataset.val": 4,
    "superpixel.count": 36,
    "model.image_size": 64,
    "pooling.levels": _LEVELS,
    "task.hidden_dim": 32,
    "task.projection_dim": 16,
    "trainer.max_epochs": 1,
    "trainer.max_steps": 2,
    "trainer.val_check_interval": 2,
    "trainer.limit_train_batches": 2,
    "trainer.log_every_n_steps": 1,
    "optim.schedule.warmup_epochs": 0,
    "callbacks.progress": None,
    "evaluation.linear_probe.epochs": 2,
    "evaluation.hierarchy.levels": _LEVELS,
    "evaluation.open_vocabulary.levels": _LEVELS,
    "evaluation.figure_ground.levels": _LEVELS,
    "evaluation.retrieval.segments": 4,
    **{f"evaluation.{name}.pictures": 1 for name in ("retrieval", "figure_ground", "hierarchy")},
}


def miniature(name: str, words: Sequence[str], weights: str = "") -> list[str]:
    """The arguments of a command that does the same in seconds.

    Args:
        name: Root config, train or eval.
        words: Arguments, without placeholders.
        weights: Checkpoint in the place of published ones.
    """
    if {key_of(word) for word in words} <= {"resume", "plugins"}:  # of a run that is small
        return list(words)
    flags = [word for word in words if "=" not in word]
    words = [word for word in reduced(words) if "=" in word]
    words = [f"checkpoint={weights}" if _published(word) else word for word in words]
    extra = flags[flags.index("--config-dir") + 1] if "--config-dir" in flags else None
    with config_tree(extra=extra and Path(extra)):
        given = {key_of(word) for word in words}
        several = {text: values_of(text)[0] for text in swept(words)}
        words = [f"{key_of(word)}={several[word]}" if word in several else word for word in words]
        expanded = with_run(words) if name == EVAL else words
        config = compose(name, expanded, return_hydra_config=True)
    if "logger=wandb" in words:
        words.append("logger.wandb.offline=true")
    params = config.hydra.sweeper.get("params") or {}
    for key, values in params.items():
        words.append(_tiny_model(f"hydra.sweeper.params.{key}={str(values).split(',')[0]}"))
    own = config.hydra.runtime.choices.model
    if own != _tiny(own) and not given & {"model", "checkpoint", "run"} and "model" not in params:
        words.append(f"model={_tiny(own)}")
    if name == EVAL:
        config.evaluate = config.evaluate or [own_evaluation(config)]
        config = only_read(only_asked(config))
    else:
        words.append("+trainer.enable_progress_bar=false")
    small = {key: _small(config, key) for key in _SMALL}
    if name != EVAL and "checkpoint" in given and not _pools(config, given):
        small["pooling.levels"] = None
    if name == EVAL and "checkpoint" in given and small["pooling.levels"]:
        small["pooling.levels"] = str(_LEVELS).replace(" ", "")  # as many as the weights have
    chosen = [f"{key}={value}" for key, value in small.items() if value is not None]
    kept = [word for word in words if small.get(key_of(word)) is None]
    return [*flags, *kept, *chosen]


def _pools(config: DictConfig, given: set[str]) -> bool:
    """Whether a model from a checkpoint is told its levels, by its recipe or the command."""
    told = "checkpoint" in config.model and config.model.pooling is not None
    return told or any(key.partition(".")[0] == "pooling" for key in given)


def reduced(words: Sequence[str]) -> list[str]:
    """The arguments of a command without its hardware, with models of the smallest size."""
    return [_tiny_model(word) for word in words if key_of(word) not in _HARDWARE]


def _tiny(model: str) -> str:
    return re.sub(r"_(small|base)(_deep)?$", "_tiny", model)


def _tiny_model(word: str) -> str:
    key, _, value = word.partition("=")
    return f"{key}={_tiny(value)}" if key.rpartition(".")[2] == "model" else word


def _published(word: str) -> bool:
    key, _, value = word.partition("=")
    return key == "checkpoint" and value in PUBLISHED


def _small(config: DictConfig, key: str) -> str | None:
    """The small value of a key; None where a config lacks the key, or it follows another."""
    parent, _, name = key.rpartition(".")
    node, small = OmegaConf.select(config, parent), _SMALL[key]
    if not isinstance(node, DictConfig) or node.get(name) is None:
        return None
    if OmegaConf.is_interpolation(node, name):
        return None
    if isinstance(small, list):
        counts = [isinstance(level, int) for level in node[name]]
        return str(small[: len(counts)]).replace(" ", "") if all(counts) else None
    if key == "trainer.max_epochs" and node[name] == -1:  # the steps are counted
        return None
    if ".dataset." in key and not isinstance(node[name], int):  # a folder
        return None
    return "null" if small is None else str(small)
