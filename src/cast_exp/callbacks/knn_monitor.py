"""How good the features are while they are being learnt, without training anything on them."""

from typing import Annotated, Any, ClassVar, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning_utilities.core.apply_func import apply_to_collection
from pydantic import Field
from torch import Tensor

from cast_exp.callbacks.needs import NeedsClasses
from cast_exp.callbacks.side_work import (
    apart_from_training,
    data_of,
    is_due,
    log_scalars,
    spare_the_run,
)
from cast_exp.errors import UserError
from cast_exp.metrics import KNNAccuracy


class KNNMonitor(NeedsClasses):
    """Logs the k-nearest-neighbour accuracy "val/knn" (and "val/knn_top5") of the task's features.

    Training images vote on validation images; see `KNNAccuracy`. The untrained network is scored
    before the first step (logged at step 0, as a figure to beat), then at the end of every so many
    epochs and of training. Checkpoints may monitor "val/knn": it is the same on all processes.
    `trainer.callback_metrics` also gets "val/knn_untrained". Every process loads all images and
    encodes its share of each batch.

    Args:
        every_n_epochs: Epochs from one figure to the next.
        memory: Training images that vote; None for all.
        queries: Validation images they vote on; None for all.
        neighbours: How many vote on each.
        temperature: See `KNNAccuracy`.
        batch_size: Images encoded at a time.
    """

    figures: ClassVar[tuple[str, ...]] = ("val/knn", "val/knn_top5", "val/knn_untrained")

    def __init__(
        self,
        every_n_epochs: Annotated[int, Field(ge=1)] = 1,
        memory: Annotated[int, Field(ge=1)] | None = 20_000,
        queries: Annotated[int, Field(ge=1)] | None = 5_000,
        neighbours: Annotated[int, Field(ge=1)] = 20,
        temperature: Annotated[float, Field(gt=0)] = 0.07,
        batch_size: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        self.every_n_epochs = every_n_epochs
        self.memory = memory
        self.queries = queries
        self.neighbours = neighbours
        self.temperature = temperature
        self.batch_size = batch_size
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
        if obstacle := self.obstacle(data_of(trainer)):
            raise UserError(f"no kNN: {obstacle}; leave this callback out")
        if trainer.global_step == 0 and (scores := self._score(trainer, pl_module)):
            self.untrained = self.latest
            log_scalars(trainer, {name: score.item() for name, score in scores.items()})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score every so many epochs, and after the last step."""
        if is_due(trainer, self.every_n_epochs) and (scores := self._score(trainer, pl_module)):
            pl_module.log_dict(scores, sync_dist=True)
            if self.untrained is not None:
                pl_module.log("val/knn_untrained", self.untrained, logger=False, sync_dist=True)

    def _score(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Tensor]:
        """Both accuracies; empty when they could not be had."""
        metric = KNNAccuracy(data_of(trainer).num_classes, self.neighbours, self.temperature)
        scores: dict[str, Tensor] = {}
        with spare_the_run(trainer, "kNN"):
            failure: Exception | None = None
            try:
                self._encode(trainer, pl_module, "train", metric.to(pl_module.device))
                self._encode(trainer, pl_module, "val", metric)
            except Exception as error:
                failure = error
            # Before the features are gathered, all must know that all are there to gather.
            if not trainer.strategy.reduce_boolean_decision(failure is None):
                raise failure or RuntimeError("kNN failed on another process")
            accuracy = metric.compute()
            self.latest = accuracy["top1"].item()
            scores.update({"val/knn": accuracy["top1"], "val/knn_top5": accuracy["top5"]})
        return scores

    def _encode(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        split: Literal["train", "val"],
        metric: KNNAccuracy,
    ) -> None:
        data = data_of(trainer)
        limit = self.memory if split == "train" else self.queries
        share = slice(trainer.global_rank, None, trainer.world_size)
        seen = 0
        with apart_from_training(trainer, pl_module):
            for loaded in data.plain_dataloader(split, limit, self.batch_size):
                mine = apply_to_collection(loaded, Tensor, lambda rows: rows[share])
                if len(mine["label"]):
                    batch = data.prepare(mine, pl_module.device)
                    features = pl_module.features(batch)  # type: ignore[operator]
                    metric.update(
                        features, batch["label"], "memory" if split == "train" else "query"
                    )
                    seen += len(mine["label"])
        if not seen:
            raise UserError(f"kNN found no {split} image for process {trainer.global_rank}")
