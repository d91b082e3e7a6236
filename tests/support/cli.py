"""Running an entry point inside the process of a test."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cast_exp.eval import evaluate_model
from cast_exp.run.app import run_app
from cast_exp.run.job import Task
from cast_exp.train import train

SMALL = (
    "experiment=shapes_moco",
    "data.dataset.train=32",
    "data.dataset.val=16",
    "data.image_size=32",
    "data.batch_size=8",
    "data.workers=0",
    "superpixel=grid",
    "superpixel.count=16",
    "pooling.levels=[8,4]",
    "model.name={_target_:cast_exp.models.Size,dim:24,depths:[1,1],heads:2}",
    "model.image_size=32",
    "task.hidden_dim=32",
    "task.projection_dim=16",
    "trainer.log_every_n_steps=1",
    "callbacks.progress=null",
    "+trainer.enable_progress_bar=false",
)
"""Four steps of an epoch, in seconds."""


def cast_train(*overrides: str) -> int:
    """`python -m cast_exp.train OVERRIDES` in this process; its exit code."""
    return _run(train, "train", overrides)


def cast_eval(*overrides: str) -> int:
    """`python -m cast_exp.eval OVERRIDES` in this process; its exit code."""
    return _run(evaluate_model, "eval", overrides)


def _run(task: Task, name: str, overrides: Sequence[str]) -> int:
    with restored():
        sys.argv = [name, *overrides]
        try:
            run_app(task, name)
        except SystemExit as end:
            return int(end.code or 0)
    raise AssertionError("run_app returned")


def runs(root: Path = Path("runs")) -> list[Path]:
    """The folders of all runs below a folder, in order of their names."""
    return sorted(path.parent for path in root.rglob("config.yaml") if path.parent.name != ".hydra")


@contextmanager
def restored() -> Iterator[None]:
    """Put back what an entry point changes in its process."""
    root = logging.getLogger()
    before = sys.argv, dict(os.environ), root.handlers[:], warnings.formatwarning, root.level
    try:
        with warnings.catch_warnings():
            yield
    finally:
        logging.captureWarnings(False)
        for handler in root.handlers:
            if handler not in before[2]:
                handler.close()
        sys.argv, environment, root.handlers[:], warnings.formatwarning, root.level = before
        os.environ.clear()
        os.environ.update(environment)
