"""How good the features are while they are being learnt, without training anything on them."""

from typing import Annotated, Any, ClassVar

import torch
from lightning.pytorch import LightningModule, Trainer
from pydantic import Field

from cast_exp.callbacks.feature_monitor import FeatureMonitor
from cast_exp.callbacks.side_work import is_due, log_scalars
from cast_exp.data.features import Features
from cast_exp.tasks.knn import knn_accuracy


class KNNMonitor(FeatureMonitor):
    """Logs the k-nearest-neighbour accuracy "val/knn" (and "val/knn_top5") of the task's features.

    Training images vote on validation images; see `knn_hits`. The untrained network is scored
    before the first step (logged at step 0, as a figure to beat), then at the end of every so many
    epochs and of training. Checkpoints may monitor "val/knn": it is the same on all processes.
    `trainer.callback_metrics` also gets "val/knn_untrained".

    Args:
        every_n_epochs: Epochs from one figure to the next.
        memory: Training images that vote; None for all.
        queries: Validation images they vote on; None for all.
        neighbours: How many vote on each.
        temperature: See `knn_hits`.
        batch_size: Images encoded at a time, on each device.
    """

    figures: ClassVar[tuple[str, ...]] = ("val/knn", "val/knn_top5", "val/knn_untrained")
    title: ClassVar[str] = "kNN"

    def __init__(
        self,
        every_n_epochs: Annotated[int, Field(ge=1)] = 1,
        memory: Annotated[int, Field(ge=1)] | None = 20_000,
        queries: Annotated[int, Field(ge=1)] | None = 5_000,
        neighbours: Annotated[int, Field(ge=1)] = 20,
        temperature: Annotated[float, Field(gt=0)] = 0.07,
        batch_size: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        super().__init__(every_n_epochs, memory, queries, batch_size)
        self.neighbours = neighbours
        self.temperature = temperature
        self.untrained: float | None = None
        """Accuracy before the first step, 0..1; survives a resume."""
        self.latest: float | None = None
        """The last accuracy, 0..1."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to know."""
        return {"untrained": self.untrained, "latest": self.latest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the figures of the run that is resumed."""
        self.untrained, self.latest = state_dict["untrained"], state_dict["latest"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the untrained network.

        Raises:
            UserError: There is nothing to recognise; see `recognition_obstacle`.
        """
        super().on_train_start(trainer, pl_module)
        if trainer.global_step == 0:
            log_scalars(trainer, self.measure(trainer, pl_module))
            self.untrained = self.latest

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score every so many epochs, and after the last step."""
        super().on_train_epoch_end(trainer, pl_module)
        if is_due(trainer, self.every_n_epochs) and self.untrained is not None:
            pl_module.log("val/knn_untrained", self.untrained, logger=False, sync_dist=True)

    def score(
        self, train: Features, val: Features, classes: int, device: torch.device
    ) -> dict[str, float]:
        """See `knn_accuracy`."""
        found = knn_accuracy(train, val, classes, self.neighbours, self.temperature, device)
        self.latest = found["top1"]
        return {"val/knn": found["top1"], "val/knn_top5": found["top5"]}
