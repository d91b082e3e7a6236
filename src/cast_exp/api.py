"""Training and evaluation from Python, with the overrides of the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cast_exp.config import key_of
from cast_exp.distributed.signals import Stopped
from cast_exp.errors import UserError
from cast_exp.eval import evaluate_model
from cast_exp.run.app import launch
from cast_exp.run.folder import discard, read_summary
from cast_exp.run.job import Task
from cast_exp.train import train


@dataclass(frozen=True)
class Run:
    """What a command has left behind.

    Attributes:
        folder: Its folder, with config, curves, checkpoints and pictures.
        metrics: Last value of each figure by name.
    """

    folder: Path
    metrics: dict[str, float]


def run_training(overrides: Sequence[str]) -> Run:
    """Do what `python -m cast_exp.train OVERRIDES` does, in a process of its own.

    Args:
        overrides: Those of a single run, as in ["experiment=shapes_moco", "seed=1"].

    Raises:
        UserError: A mistake in the overrides, in the data, or in what is found in the run.
        RuntimeError: The run failed otherwise; its folder has the log.
        KeyboardInterrupt: It was stopped, and can be resumed.
    """
    return _run(train, "train", overrides)


def run_evaluation(overrides: Sequence[str]) -> Run:
    """Do what `python -m cast_exp.eval OVERRIDES` does, in a process of its own.

    Args:
        overrides: Those of one evaluation, as in ["experiment=voc_retrieval", "checkpoint=..."].

    Raises:
        UserError: See `run_training`.
        RuntimeError: Likewise.
        KeyboardInterrupt: Likewise.
    """
    return _run(evaluate_model, "eval", overrides)


def _run(task: Task, name: str, overrides: Sequence[str]) -> Run:
    if options := [text for text in overrides if text.startswith("-")]:
        raise UserError(f"{options[0]} is for the command line; here are overrides of one run")
    try:
        ended = launch(task, name, overrides, apart=True)
    except Stopped as stop:
        raise KeyboardInterrupt(str(stop)) from None
    if len(ended) != 1:
        raise UserError("these were the jobs of a multirun, which is for the command line")
    ((folder, code),) = ended
    summary = read_summary(folder)
    if code == 2:
        if not any(key_of(text) == "resume" for text in overrides):
            discard(folder)
        raise UserError(
            str(summary.get("error") or f"the run has not ended well; see {folder / 'run.log'}")
        )
    if code:
        raise RuntimeError(f"the run failed with exit code {code}; see {folder / 'run.log'}")
    return Run(folder, summary["metrics"])
