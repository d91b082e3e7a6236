"""Trains on one batch only, to see whether it is learned."""

import logging
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from cast_exp.output.rounding import rounded

log = logging.getLogger(__name__)

_LEARNED = 0.5  # share of the first loss that the last should be below


class OneBatch(Callback):
    """Has each step see the first batch again, the same views, at the peak learning rate.

    At the end the losses of the first and the last step are logged, with a warning if the last is
    not below half of the first: then the loss, the gradients or the learning rate are wrong.
    """

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        """Of each step."""
        self._batch: dict[str, Any] = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the first batch in the place of this one."""
        self._batch = self._batch or dict(batch)
        batch.update(self._batch)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss."""
        self.losses.append(outputs["loss"].detach())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell what has become of the loss."""
        if not (self.losses and trainer.is_global_zero):
            return
        first, last = float(self.losses[0]), float(self.losses[-1])
        log.info(
            "one batch, %d steps: loss %s -> %s", len(self.losses), *map(rounded, (first, last))
        )
        if not last < _LEARNED * first:
            log.warning("the batch was not learned: look at the loss, gradients and learning rate")
