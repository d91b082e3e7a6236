"""The checkpoint of a run that stops unexpectedly."""

import logging
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from cast_exp.callbacks.nan_guard import NonFiniteLoss

log = logging.getLogger(__name__)


class ExceptionCheckpoint(Checkpoint):
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
        """Save, on the first process only, unless there is nothing worth saving."""
        nothing = trainer.global_step == 0 or isinstance(exception, NonFiniteLoss)
        if nothing or not trainer.is_global_zero:
            return
        try:
            # What trainer.save_checkpoint does, less its barrier.
            checkpoint = trainer._checkpoint_connector.dump_checkpoint()
            trainer.strategy.save_checkpoint(checkpoint, self.path)
        except Exception:
            log.exception("the state at step %d could not be saved", trainer.global_step)
        else:
            log.warning("stopped at step %d, saved as %s", trainer.global_step, self.path)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the file of an earlier launch, now that the run has ended well."""
        trainer.strategy.remove_checkpoint(self.path)
