"""The checkpoints of a run that all processes save together."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer, callbacks


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
