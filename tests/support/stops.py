"""Runs of two processes of which one is told to stop or to go no further, or has another clock."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

from lightning.pytorch import Callback, LightningModule, Trainer
from support.feature_ranks import trainer
from support.tiny_run import TinyTask, tiny_data

from cast_exp.callbacks import NanGuard, Prune, TimedCheckpoint
from cast_exp.distributed import rank, signals


def stopped_at(folder: Path, where: int, at_step: int, accumulated: int) -> tuple[int, int, int]:
    """Signal, steps and batches of a run when a signal to one process has stopped it.

    Args:
        folder: Of the run.
        where: The process.
        at_step: The step during which the signal comes.
        accumulated: Batches of a step.
    """
    task = TinyTask()
    sent = {"signal": 0}

    def train(batch: Any, batch_idx: int) -> Any:
        if task.global_step == at_step and rank() == where:
            sent["signal"] = 15
        return TinyTask.training_step(task, batch, batch_idx)

    run = trainer(folder, NanGuard(), max_epochs=3, accumulate_grad_batches=accumulated)
    with (
        patch.object(task, "training_step", train),
        patch.object(signals, "received", lambda: sent["signal"]),
    ):
        try:
            run.fit(task, datamodule=tiny_data())
        except signals.Stopped as stop:
            batches = run.fit_loop.epoch_loop.batch_progress.total.processed
            return stop.signal, run.global_step, batches
    return 0, run.global_step, 0


def saves_by_the_clock(folder: Path) -> int:
    """Steps of a run whose first process always finds it time to save, and whose second never."""
    run = trainer(folder, TimedCheckpoint(folder, 1e-9 if rank() == 0 else 1e9))
    run.fit(TinyTask(), datamodule=tiny_data())
    steps: int = run.global_step
    return steps


class Curve(Callback):
    """Logs a figure that is the same in each epoch, as kNN would, the same on all processes."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("val/knn", 0.1, sync_dist=True)


def pruned_at(folder: Path) -> tuple[int, float | None]:
    """Epochs that a trial is trained for, of six, and whether its figures say it was pruned."""
    run = trainer(folder, Curve(), Prune("val/knn"), max_epochs=6)
    run.fit(TinyTask(), datamodule=tiny_data())
    pruned = run.callback_metrics.get("pruned")
    return run.current_epoch, None if pruned is None else float(pruned)
