"""Where the time of a run goes."""

from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class PhaseTimes(Callback):
    """Logs the seconds spent so far in each phase of this launch, after every epoch.

    "time/preparation" is what comes before the first step (features that are cached, too),
    "time/validation" the passes over the validation images, and "time/training" the rest.
    """

    def __init__(self) -> None:
        self._seconds = {"preparation": 0.0, "training": 0.0, "validation": 0.0}
        self._mark = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the clock."""
        self._mark = perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the preparation."""
        self._lap("preparation")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Turn from training to validation."""
        self._lap("training")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Turn back."""
        self._lap("validation")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log."""
        self._lap("training")
        figures: dict[str, Any] = {f"time/{name}": value for name, value in self._seconds.items()}
        pl_module.log_dict(figures, logger=False, sync_dist=True)

    def _lap(self, phase: str) -> None:
        now = perf_counter()
        self._seconds[phase] += now - self._mark
        self._mark = now
