"""How fast training runs, what it makes of the device, and how long it waits for data."""

import logging
from time import perf_counter
from typing import Annotated, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from pydantic import Field

from cast_exp.callbacks.model_summary import summarise
from cast_exp.callbacks.side_work import (
    apart_from_training,
    log_scalars,
    spare_the_run,
)
from cast_exp.models.flops import peak_tflops

log = logging.getLogger(__name__)

_MUCH = 0.5
"""Share of waiting for data that is told of."""


class Throughput(Callback):
    """Logs images per second, FLOP utilisation, memory, and the share of time that data take.

    Under "throughput/":

    - "images_per_second" counts images (not views) of all processes.
    - "data_wait", in 0..1, is the share of time between the end of a step and the start of the
      next: loading, copying to the device and preparing there.
    - "model_tflops" is what the backbone needs, in TFLOP/s of one device: the operations of one
      forward pass, as in the table of the model, times `BaseTask.forward_passes`, times images per
      second. What is computed again or for nothing does not raise it. Not for cached features.
    - "mfu", in 0..1, is its share of what the device can do (model FLOP utilisation); logged for
      GPUs and precisions that `peak_tflops` knows.
    - "peak_memory_gib" is the most memory that tensors took so far on a CUDA device, in GiB.

    A run that waits for data more than half of the time is told so, once.

    Loggers get them for windows of steps; `trainer.callback_metrics` gets the means over the run.
    What runs between two epochs (kNN, pictures, checkpoints) counts for no speed.

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
        self._told = False
        self._mark = 0.0
        self._teraflops_per_image = 0.0
        self._peak: float | None = None

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
        self._peak = peak_tflops(pl_module.device, trainer.precision)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the clock, so that what ran between epochs is not counted."""
        self._mark = perf_counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """End the wait for data; at the first step, count operations, off the clock."""
        self._lap("waited")
        if self._seen == 0:
            with spare_the_run(trainer, "the count of operations"):
                self._teraflops_per_image = teraflops_per_image(trainer, pl_module, batch)
            self._mark = perf_counter()

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
            self._tell_of_waiting(trainer)
            log_scalars(trainer, self._figures(self._window, trainer, pl_module.device))
            self._window = _Tally()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the means over the run to whoever sums it up."""
        figures = self._figures(self._run, trainer, pl_module.device)
        # All processes average the same names, also where the GPU of only some is known.
        names = trainer.strategy.broadcast(list(figures))
        averaged = {name: figures.get(name, float("nan")) for name in names}
        pl_module.log_dict(averaged, logger=False, sync_dist=True)

    def _tell_of_waiting(self, trainer: Trainer) -> None:
        """Say once if training mostly waits for data."""
        if self._told or not self.data_wait > _MUCH or not trainer.is_global_zero:
            return
        self._told = True
        log.warning(
            "training waits for data %.0f %% of the time; more data.workers, cheaper superpixels "
            "or, where the disk is slow, one file on a local disk help. To measure what limits it, "
            "with the overrides of this run: cast-exp advise",
            100 * self.data_wait,
        )

    def _figures(self, tally: "_Tally", trainer: Trainer, device: torch.device) -> dict[str, float]:
        figures = {"images_per_second": tally.images_per_second, "data_wait": tally.data_wait}
        if self._teraflops_per_image:
            rate = tally.images_per_second / trainer.world_size * self._teraflops_per_image
            figures["model_tflops"] = rate
            if self._peak:
                figures["mfu"] = rate / self._peak
        if device.type == "cuda":
            figures["peak_memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
        return {f"throughput/{name}": value for name, value in figures.items()}

    def _lap(self, kind: str) -> None:
        now = perf_counter()
        for tally in (self._run, self._window):
            setattr(tally, kind, getattr(tally, kind) + now - self._mark)
        self._mark = now


def teraflops_per_image(trainer: Trainer, module: LightningModule, batch: Any) -> float:
    """Operations of the backbone in a training step for an image of a batch, in 1e12.

    It is 0 for a batch of features, which the backbone does not see.
    """
    if "images" not in batch:
        return 0.0
    images, superpixels = batch["images"], batch["superpixels"]
    if isinstance(images, list):  # views
        images, superpixels = images[0], superpixels[0]
    side = images.size(-1)
    with apart_from_training(trainer, module):
        total = summarise(module, side, superpixels.count)[-1]
    passes: int = module.forward_passes  # type: ignore[assignment]
    return (total.flops or 0) * passes / 1e12


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
