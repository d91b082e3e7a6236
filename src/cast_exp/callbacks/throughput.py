"""How fast training runs, and how much of its time it waits for data."""

from time import perf_counter
from typing import Annotated, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from pydantic import Field

from cast_exp.callbacks.side_work import log_scalars


class Throughput(Callback):
    """Logs images per second and the share of time spent waiting for data.

    "throughput/images_per_second" counts images (not views) of all processes.
    "throughput/data_wait", in 0..1, is the share of time between the end of a step and the start
    of the next: loading, copying to the device and preparing there. Loggers get both for windows
    of steps; `trainer.callback_metrics` gets the means over the run. What runs between two epochs
    (kNN, pictures, checkpoints) counts for neither.

    It should be the last callback: what those before it do at the end of a step, waiting for the
    device included, then counts as part of the step. The device is synchronised at the end of a
    window, to time work that is done and not queued.

    Args:
        every_n_steps: Steps in a measured window.
        warmup_steps: First steps, slow for other reasons, left out of the means over the run.
    """

    def __init__(
        self,
        every_n_steps: Annotated[int, Field(ge=1)] = 50,
        warmup_steps: Annotated[int, Field(ge=0)] = 5,
    ) -> None:
        self.every_n_steps = every_n_steps
        self.warmup_steps = warmup_steps
        self._run = _Tally()
        self._window = _Tally()
        self._seen = 0
        self._mark = 0.0

    @property
    def images_per_second(self) -> float:
        """Mean over the run, without warm-up if it is longer; NaN before the first step."""
        return self._run.images_per_second

    @property
    def data_wait(self) -> float:
        """Share of the time of the same steps, 0..1."""
        return self._run.data_wait

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting anew."""
        self._run, self._window, self._seen = _Tally(), _Tally(), 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the clock, so that what ran between epochs is not counted."""
        self._mark = perf_counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """End the wait for data."""
        self._lap("waited")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the images of the step; at the end of a window, log."""
        self._seen += 1
        window_ends = self._seen % self.every_n_steps == 0
        if window_ends and pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._lap("worked")
        images = len(batch["index"]) * trainer.world_size
        self._run.images += images
        self._window.images += images
        if self._seen == self.warmup_steps:
            self._run = _Tally()
        if window_ends:
            log_scalars(trainer, self._window.figures())
            self._window = _Tally()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the means over the run to whoever sums it up."""
        pl_module.log_dict(self._run.figures(), logger=False, sync_dist=True)

    def _lap(self, kind: str) -> None:
        now = perf_counter()
        for tally in (self._run, self._window):
            setattr(tally, kind, getattr(tally, kind) + now - self._mark)
        self._mark = now


class _Tally:
    def __init__(self) -> None:
        self.images = 0
        self.waited = 0.0
        self.worked = 0.0

    @property
    def images_per_second(self) -> float:
        return self.images / self._seconds if self.images else float("nan")

    @property
    def data_wait(self) -> float:
        return self.waited / self._seconds if self.images else float("nan")

    @property
    def _seconds(self) -> float:
        return self.waited + self.worked

    def figures(self) -> dict[str, float]:
        return {
            "throughput/images_per_second": self.images_per_second,
            "throughput/data_wait": self.data_wait,
        }
