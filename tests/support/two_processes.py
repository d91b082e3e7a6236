"""A script: a run of two processes with every callback; the figures of one step fail on the second
process, and later its loss becomes NaN.

Usage: python two_processes.py FOLDER
"""

import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from support.tiny_run import TinyTask, expected_score, tiny_data, tiny_trainer
from torch import Tensor

from cast_exp.callbacks import (
    ExceptionCheckpoint,
    HierarchyImages,
    KNNMonitor,
    ModelTable,
    NanGuard,
    RunRecord,
    Throughput,
)


class FailsOnce(TinyTask):
    """Has no features on the second process after the first epoch."""

    def features(self, batch: dict[str, Any]) -> Tensor:
        if self.global_step == 6 and self.global_rank == 1:
            raise RuntimeError("out of memory")
        return super().features(batch)


class Recorder(Callback):
    """Keeps what each process knows when the run breaks off, before any of them is killed."""

    def __init__(self, folder: Path, monitor: KNNMonitor, expected: float) -> None:
        self.folder, self.monitor, self.expected = folder, monitor, expected
        self.scores: list[float | None] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.scores.append(self.monitor.latest)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        found = {
            "scores": self.scores,
            "expected": self.expected,
            "logged": trainer.callback_metrics["val/knn"].item(),
            "exception": str(exception),
        }
        torch.save(found, self.folder / f"rank{trainer.global_rank}.pt")
        deadline = time.monotonic() + 60
        while len(list(self.folder.glob("rank*.pt"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)


def main(folder: Path) -> None:
    torch.manual_seed(1)
    task = FailsOnce(bad_loss=math.nan, at_step=14, on_rank=1)
    expected = expected_score(task, None, 19, 20)
    monitor = KNNMonitor(queries=19, batch_size=6)
    trainer = tiny_trainer(
        folder,
        monitor,
        HierarchyImages(count=2, every_n_epochs=None, every_n_steps=5),
        ModelTable(),
        Throughput(),
        RunRecord(),
        NanGuard(),
        ExceptionCheckpoint(folder),
        Recorder(folder, monitor, expected),
        strategy="ddp",
        devices=2,
        max_epochs=3,
    )
    trainer.fit(task, datamodule=tiny_data())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
