"""Choices that do not go together, told in a sentence before any of their keys is looked at."""

from functools import cache
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf

from cast_exp.config import options
from cast_exp.data.base import RawDataModule
from cast_exp.plugins import resolve
from cast_exp.run.tree import compose
from cast_exp.tasks import BaseTask


def wrong_evaluations(config: DictConfig, some: bool) -> list[str]:
    """What is wrong with the names of evaluations that are asked for.

    Args:
        config: Composed config, with all evaluations.
        some: Whether there should be one.
    """
    asked, known = config.evaluate, ", ".join(map(str, config.evaluation))
    if not OmegaConf.is_list(asked):
        shown = "null" if asked is None else asked
        return [f"evaluate={shown}: should be a list, as in evaluate=[knn]"]
    if some and not asked:
        return [f"nothing to evaluate; set evaluate to some of [{known}]"]
    strange = [name for name in asked if name not in config.evaluation]
    shown = ",".join(map(str, asked))
    return [f"evaluate=[{shown}]: {name} is none of {known}" for name in strange]


def own_evaluation(config: DictConfig) -> str | None:
    """The evaluation of what a config trains, if it has one of its own."""
    name: str | None = getattr(_target(config.get("task")), "evaluated_by", None)
    return name


def misfits(config: DictConfig, choices: DictConfig, trains: bool) -> list[str]:
    """What of a config's tasks and evaluations cannot work on the data that it gives them.

    Args:
        config: Composed config; of the evaluations only those that are asked for.
        choices: Option of each group.
        trains: Whether the task is run.
    """
    found = {}
    task = _target(config.get("task"))
    if trains and isinstance(task, type) and issubclass(task, BaseTask):
        found[f"task={choices.task}"] = ("data", task.trains_on)
    for name, node in config.evaluation.items():
        for key, kind in _hints(_target(node)).items():
            plain: Any = OmegaConf.to_container(node)
            if _holds_data(kind) and isinstance(plain.get(key), str):  # refers to a top-level node
                found[f"evaluate=[{name}]"] = (plain[key].strip("${}"), kind)
    lines = []
    for what, (source, kind) in found.items():
        there = _target(config.get(source))
        if _holds_data(there) and not issubclass(there, kind):
            chosen = choices["data@scenes" if source == "scenes" else source]
            fit = [name for name, other in _kinds().items() if issubclass(other, kind)]
            lines.append(
                f"{what} needs {kind.holds}, {source}={chosen} has {there.holds}; choose one of "
                f"{source}={','.join(fit)}"
            )
    return lines


def _target(node: Any) -> Any:
    """What a node would be built by; None if that cannot be told."""
    try:
        return resolve(node["_target_"])
    except Exception:  # the validator says why
        return None


def _hints(target: Any) -> dict[str, Any]:
    return get_type_hints(target.__init__) if isinstance(target, type) else {}  # type: ignore[misc]


def _holds_data(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, RawDataModule)


@cache
def _kinds() -> dict[str, type[RawDataModule]]:
    """What each option of `data` would be built by."""
    found = {name: _target(compose(f"data/{name}").data) for name in options("data")}
    return {name: kind for name, kind in found.items() if isinstance(kind, type)}
