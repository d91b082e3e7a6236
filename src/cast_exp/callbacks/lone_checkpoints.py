"""Checkpoints that one process saves without the others: by the clock, and when the run is stopped.

All processes hold the same state, and nothing here waits for another: that would cost an exchange
at each step, or for ever where one of them is stuck or gone.
"""

import logging
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

from lightning.pytorch import LightningModule, Trainer, callbacks
from pydantic import Field

from cast_exp.callbacks.nan_guard import NonFiniteLoss
from cast_exp.distributed import signals
from cast_exp.errors import UserError

log = logging.getLogger(__name__)


class TimedCheckpoint(callbacks.Checkpoint):
    """Saves the state every so many minutes, at the end of a step, in place of the one before.

    A run that ends well removes the file.

    Args:
        dirpath: Folder of the checkpoints.
        minutes: From one to the next.
        filename: Name of the file, without ".ckpt".
    """

    def __init__(
        self, dirpath: Path, minutes: Annotated[float, Field(gt=0)], filename: str = "timed"
    ) -> None:
        self.path = Path(dirpath) / f"{filename}.ckpt"
        self.minutes = minutes
        self._saved = 0.0
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._saved, self._step = monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time, on the first process only, unless gradients are being accumulated."""
        stepped, self._step = trainer.global_step > self._step, trainer.global_step
        due = monotonic() - self._saved >= 60 * self.minutes
        if stepped and due and trainer.is_global_zero:
            _save(trainer, self.path)
            self._saved = monotonic()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the file, now that the run has ended well."""
        trainer.strategy.remove_checkpoint(self.path)


class ExceptionCheckpoint(callbacks.Checkpoint):
    """Saves the state when an exception, a signal or Ctrl-C ends the run.

    Unlike Lightning's own callback for this it does not wait for other processes, which may be
    stuck in a collective call or gone, does not save a run that stops because its weights are
    spoilt, never hides the exception behind a failure of its own, and does not make the next run
    resume unasked. A run that ends well removes the file.

    Args:
        dirpath: Folder of the checkpoints.
        filename: Name of the file, without ".ckpt".
    """

    def __init__(self, dirpath: Path, filename: str = "exception") -> None:
        self.path = Path(dirpath) / f"{filename}.ckpt"

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save, on the first process or, if that is gone, the second; not where it is in vain."""
        if trainer.global_step == 0 or isinstance(exception, NonFiniteLoss):
            return
        stopped = isinstance(exception, signals.Stopped)  # as the first is, which saves
        heir = trainer.global_rank == 1 and not stopped and signals.lost()
        if not (trainer.is_global_zero or heir):
            return
        try:
            with signals.without_deadline():
                _save(trainer, self.path)
        except Exception as failure:
            told = isinstance(failure, UserError)
            step = trainer.global_step
            log.error("step %d could not be saved: %s", step, failure, exc_info=not told)
        else:
            log.warning("stopped at step %d, saved as %s", trainer.global_step, self.path)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the file of an earlier launch, now that the run has ended well."""
        trainer.strategy.remove_checkpoint(self.path)


def _save(trainer: Trainer, path: Path) -> None:
    """What trainer.save_checkpoint does, less its barrier."""
    checkpoint = trainer._checkpoint_connector.dump_checkpoint()
    if trainer.validating:  # or Lightning would go on with what is left of it, or without
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
        begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        progress |= {"total": begun, "current": begun.copy(), "is_last_batch": False}
    trainer.strategy.checkpoint_io.save_checkpoint(checkpoint, path)
