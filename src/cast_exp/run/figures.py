"""Which figures a run will have, as far as its parts say so, and what asks for others."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from omegaconf import DictConfig

from cast_exp.callbacks import KNNMonitor, LinearProbeMonitor
from cast_exp.config import nearest, options
from cast_exp.evaluation import BaseEvaluation
from cast_exp.plugins import resolve
from cast_exp.tasks import ClassificationTask, LinearProbeTask, SegmentationTask

_OURS = (KNNMonitor, LinearProbeMonitor, ClassificationTask, LinearProbeTask, SegmentationTask)
NAMED = frozenset(figure for kind in _OURS for figure in kind.figures or ())
"""Figures of our callbacks and tasks, also of those that a run does not have."""

OF_TRAINING = ("train/", "throughput/", "time/", "model/", "lr")
"""Beginnings of the names of figures that are there once the first epoch is over, if ever."""

_COUNTERS = ("epoch", "step")
_KNOWN = ("cast_exp.", "lightning.")  # packages whose callbacks say what figures they log
_UNTRAINED = "untrained/"


def logged_figures(task: Any, callbacks: Iterable[Any]) -> set[str] | None:
    """Figures of validation that a run may log, as patterns; None if some part does not say.

    Args:
        task: A `BaseTask`, or its class.
        callbacks: Callbacks, or their classes.
    """
    found = getattr(task, "figures", None)
    if found is None:
        return None
    logged = set(found)
    for callback in callbacks:
        figures = getattr(callback, "figures", None)
        if figures is None and not callback.__module__.startswith(_KNOWN):
            return None
        logged |= set(figures or ())
    return logged


def wrong_figures(config: DictConfig) -> list[str]:
    """What a training asks for that nothing in it logs, a line each.

    Args:
        config: Composed config of a training, without mistakes.
    """
    nodes = {name: node for name, node in config.callbacks.items() if node is not None}
    task = resolve(config.task._target_)
    logged = logged_figures(task, [resolve(node._target_) for node in nodes.values()])
    objective, asked = config.get("objective"), config.evaluate
    lines = [wrong_objective(objective, logged, asked)]
    if lines[0] and (name := _evaluation(objective)[0]) in options("evaluation"):
        lines = [f"objective={objective}: add evaluate=[{','.join([*asked, name])}]"]
    for name, node in nodes.items():
        monitor = node.get("monitor")
        if isinstance(monitor, str) and monitor not in NAMED:  # those are off where there are none
            lines.append(_wrong(f"callbacks.{name}.monitor", monitor, logged))
    return [line for line in lines if line]


def wrong_objective(
    metric: str | None, logged: Collection[str] | None, evaluations: Iterable[str]
) -> str | None:
    """Why no run of a kind will have its objective; None if some may.

    Args:
        metric: Name of the objective, if there is one.
        logged: See `logged_figures`.
        evaluations: Names of those that follow the training.
    """
    if not metric or _evaluation(metric)[0] in evaluations:
        return None
    return _wrong("objective", metric, logged)


def objective_notes(metric: str | None, evaluations: Mapping[str, BaseEvaluation]) -> Iterator[str]:
    """What to say of an objective that is to come of an evaluation, but may not.

    Args:
        metric: Name of the objective, if there is one.
        evaluations: Those that follow the training.
    """
    name, figure = _evaluation(metric or "")
    headline = evaluations[name].headline if name in evaluations else ()
    if headline and figure not in headline:
        yield (
            f"objective={metric}: whether evaluate=[{name}] has it shows after training; the first "
            f"of its figures are {', '.join(f'{name}/{each}' for each in headline)}"
        )


def _evaluation(metric: str) -> tuple[str, str]:
    """The evaluation that a figure would be of, and its name there."""
    name, _, figure = metric.removeprefix(_UNTRAINED).partition("/")
    return name, figure


def _wrong(key: str, metric: str, logged: Collection[str] | None) -> str | None:
    if logged is None or metric in _COUNTERS or metric.startswith(OF_TRAINING):
        return None
    if any(fnmatchcase(metric, pattern) for pattern in logged):
        return None
    return f"{key}={metric}: nothing in this run logs it; {nearest(metric, sorted(logged))}"
