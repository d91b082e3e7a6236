"""The checkpoints of a run: those that are planned, and that of a run that stops unexpectedly."""

import logging
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer, callbacks

from cast_exp.callbacks.nan_guard import NonFiniteLoss
from cast_exp.errors import UserError

log = logging.getLogger(__name__)


class ModelCheckpoint(callbacks.ModelCheckpoint):
    """Lightning's, of which a run may have any number, whatever their intervals.

    Lightning tells such callbacks apart by what they monitor and by their intervals, and refuses
    two that agree in these. Here the file that they write counts too. From a checkpoint saved by
    Lightning's own callbacks, each takes the state that belongs to its file.
    """

    @property
    def state_key(self) -> str:
        """Name of the state of this callback in checkpoints."""
        return f"{super().state_key} to {self.dirpath}/{self.filename}"

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Find the state under the name that Lightning gave it; it is loaded after this."""
        states = checkpoint["callbacks"]
        state = states.get(super().state_key)
        if state is None or self.state_key in states:
            return
        # With an interval of now, it may be that of another callback then.
        constant = (self.filename or "").partition("{")[0]
        if Path(state["best_model_path"]).name.startswith(constant):
            states[self.state_key] = state


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
        """Save, on the first process only, unless there is nothing worth saving."""
        nothing = trainer.global_step == 0 or isinstance(exception, NonFiniteLoss)
        if nothing or not trainer.is_global_zero:
            return
        try:
            # What trainer.save_checkpoint does, less its barrier.
            checkpoint = trainer._checkpoint_connector.dump_checkpoint()
            trainer.strategy.save_checkpoint(checkpoint, self.path)
        except Exception as failure:
            told = isinstance(failure, UserError)
            step = trainer.global_step
            log.error("step %d could not be saved: %s", step, failure, exc_info=not told)
        else:
            log.warning("stopped at step %d, saved as %s", trainer.global_step, self.path)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the file of an earlier launch, now that the run has ended well."""
        trainer.strategy.remove_checkpoint(self.path)
