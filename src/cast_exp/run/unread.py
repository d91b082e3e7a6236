"""What a run reads of its config, and what of a command it does not."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf, open_dict

from cast_exp.config import key_of, read_keys, unread
from cast_exp.run.trainer import READ_BY_EVALUATIONS

_EVALUATION = (
    *("name", "seed", "checkpoint", "weights", "run", "run_epochs", "resume", "paths"),
    *("model", "logger"),
    *("evaluate", "evaluate_untrained", "plugins", "trainer._target_"),
    *(f"trainer.{key}" for key in READ_BY_EVALUATIONS),
)
_TRAINING = (
    *("name", "seed", "checkpoint", "weights", "resume", "paths", "data", "task", "trainer"),
    *("callbacks", "logger", "optim", "evaluate", "evaluate_untrained", "plugins"),
    *("resume_changes", "objective"),
)


def for_evaluation(config: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Overrides that undo what an experiment sets for training and an evaluation would read."""
    given = {key_of(text) for text in overrides}
    added = []
    if not given & {"precision", "trainer.precision"}:
        added.append("precision=fp32")
    if config.data.get("views") is not None and not given & {"data", "data.views"}:
        added.append("data.views=null")  # what is left is resized and cropped
    return added


def refused_by_evaluation(config: DictConfig, typed: Sequence[str]) -> list[str]:
    """A line for each override that a user has typed and that the evaluations do not read.

    Args:
        config: Composed config; of the evaluations only those that are asked for.
        typed: The overrides.
    """
    read = read_keys(config, _roots(config, _EVALUATION))
    lines = []
    for text in _in_vain(read, typed):
        name = key_of(text).rpartition(".")[2]
        near = [f"{key}.{name}" for key in read if _has(config, key, name)]
        hint = f"did you mean {' or '.join(sorted(near)[:3])}?" if near else "leave it out"
        lines.append(f"{text}: evaluate=[{','.join(config.evaluate)}] does not read it; {hint}")
    return lines


def unread_by_training(config: DictConfig, typed: Sequence[str]) -> list[str]:
    """The overrides that a user has typed in vain."""
    return _in_vain(read_keys(config, _roots(config, _TRAINING)), typed)


def only_asked(config: DictConfig) -> DictConfig:
    """The config without the evaluations not asked for, which may be of other data than its own."""
    asked = config.evaluate if OmegaConf.is_list(config.evaluate) else []
    with open_dict(config):
        for key in set(config.evaluation) - set(asked):
            del config.evaluation[key]
    return config


def only_read(config: DictConfig) -> DictConfig:
    """The config of an evaluation without what it does not read."""
    with open_dict(config):
        _prune(config, read_keys(config, _roots(config, _EVALUATION)), "")
    return config


def _roots(config: DictConfig, own: Sequence[str]) -> list[str]:
    return [*own, *(f"evaluation.{name}" for name in config.evaluation)]


def _in_vain(read: set[str], typed: Sequence[str]) -> list[str]:
    return [text for text in unread(read, typed) if not ("scenes" in read and _followed(text))]


def _followed(text: str) -> bool:
    """Whether the scenes of dense evaluations follow; see `cast_exp.run.follow`."""
    key = key_of(text)
    return key == "superpixel" or (key.startswith("superpixel.") and key != "superpixel.count")


def _prune(node: DictConfig, read: set[str], prefix: str) -> None:
    for key in list(node):
        path = f"{prefix}{key}"
        if path in read:
            continue
        if any(name.startswith(f"{path}.") for name in read):
            if not OmegaConf.is_interpolation(node, key):
                _prune(node[key], read, f"{path}.")
        else:
            del node[key]


def _has(config: DictConfig, key: str, name: str) -> bool:
    node = OmegaConf.select(config, key, throw_on_missing=False)
    return isinstance(node, DictConfig) and name in node
