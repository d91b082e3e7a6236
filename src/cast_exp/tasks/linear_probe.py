"""Linear probing: how well a linear layer on frozen features recognises (paper, section 4.1)."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from cast_exp.checkpoints.classifier import CLASSIFIER, Classifier
from cast_exp.checkpoints.files import fingerprint
from cast_exp.data import ImageDataModule
from cast_exp.data.base import RawDataModule
from cast_exp.data.features import CachedFeatures
from cast_exp.data.recognition import recognition_obstacle
from cast_exp.errors import UserError
from cast_exp.models import Backbone
from cast_exp.optim import Schedule
from cast_exp.tasks.base import BaseTask, Readout
from cast_exp.tasks.compilation import Compile
from cast_exp.tasks.knn import knn_accuracy

Rate = Annotated[float, Field(gt=0)]


class LinearProbeTask(BaseTask):
    """Trains a linear classifier on a backbone that stays as it is, in evaluation mode.

    Several learning rates can be tried in one pass over the data: each has a classifier with a loss
    of its own, and none sees the others. Features that are cached are those of the evaluation
    transform, computed once: the same as online without augmentation, in a fraction of the time.

    Logs, for the rate that the optimizer is set to: "train/loss" at each step; after each epoch,
    over all validation images and in 0..1, "val/top1", "val/top5" and "val/best_top1", the highest
    top-1 so far. With several rates also "val/top1_rate<multiple>" for each and
    "val/top1_best_rate", the highest of them. With cached features also the accuracies of
    k-nearest-neighbour votes, "val/knn" and "val/knn_top5"; see `knn_hits`.

    Args:
        backbone: Makes hierarchies of images.
        optimizer: Makes a torch optimizer from parameter groups.
        schedule: Course of the learning rates.
        readout: What stands for an image: "cls" or "fused_mean" (needs a fusion block).
        seed: Seed of the run.
        features: "online" encodes each augmented image anew, as published; "cached" encodes each
            image once.
        rates: Learning rates as multiples of the optimizer's; 1 must be among them.
        classes: Outputs of a classifier; None for one for each class of the data.
        neighbours: How many vote on an image.
        temperature: Of their votes.
        compile: See `BaseTask`.

    Raises:
        UserError: The backbone has no fusion block to read, or rates without 1 or with doubles;
            from `training_data`, data with nothing to recognise; from `configure_model`, more
            classes than outputs.
    """

    evaluated_by = "classification"
    forward_passes = 1  # the backbone is not trained
    figures = (
        *("val/top1", "val/top5", "val/best_top1", "val/knn", "val/knn_top5"),
        *("val/top1_rate*", "val/top1_best_rate"),
    )

    def __init__(
        self,
        backbone: Backbone,
        optimizer: Callable[..., Optimizer],
        schedule: Schedule,
        readout: Readout = "cls",
        seed: Annotated[int, Field(ge=0)] = 0,
        features: Literal["online", "cached"] = "online",
        rates: Sequence[Rate] = (1.0,),
        classes: Annotated[int, Field(ge=2)] | None = None,
        neighbours: Annotated[int, Field(ge=1)] = 20,
        temperature: Annotated[float, Field(gt=0)] = 0.07,
        compile: Compile = "auto",
    ) -> None:
        super().__init__(backbone, optimizer, schedule, readout=readout, seed=seed, compile=compile)
        if 1.0 not in rates or len(set(rates)) < len(rates):
            raise UserError(
                f"task.rates={list(rates)}: should be different multiples of the learning rate, 1 "
                "among them, whose accuracy is the one to report"
            )
        self.cached = features == "cached"
        self.rates = list(rates)
        self.classes = classes
        self.neighbours = neighbours
        self.temperature = temperature
        self.best_top1: Tensor
        self.register_buffer("best_top1", torch.tensor(0.0))
        self.heads = nn.ModuleList()
        self._knn: dict[str, float] = {}
        backbone.requires_grad_(False)
        self.train()  # Lightning trains a new module in the mode it finds it in

    def training_data(self, data: RawDataModule) -> LightningDataModule:
        """The images, or their features if these are to be cached.

        Raises:
            UserError: There is nothing to recognise; see `recognition_obstacle`.
        """
        images = self.of_kind(ImageDataModule, data)
        images.raw("val")
        if obstacle := recognition_obstacle(images):
            raise UserError(f"a linear probe needs other data: {obstacle}")
        if self.cached:
            return CachedFeatures(images, self._encode, self._identity)
        return super().training_data(images)

    def configure_model(self) -> None:
        """Make the classifiers, once the number of classes is known."""
        if len(self.heads):
            return
        there: int = self.trainer.datamodule.num_classes  # type: ignore[attr-defined]
        outputs = self.classes or there
        if outputs < there:
            raise UserError(
                f"task.classes={outputs} is less than the {there} classes of the data; set it to "
                "null for as many"
            )
        for _ in self.rates:
            head = nn.Linear(self.backbone.dim, outputs)
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
            self.heads.append(head)
        top = [1] * len(self.rates) + [min(5, outputs)]
        self.accuracies = nn.ModuleList(
            MulticlassAccuracy(outputs, top_k=k, average="micro") for k in top
        )

    @property
    def classifier(self) -> Classifier:
        """The classifier whose figures are to be reported."""
        return self.classifier_of(self.heads[self._own])  # type: ignore[arg-type]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what it takes to build backbone and classifier again."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[CLASSIFIER] = self.classifier.described(f"heads.{self._own}.")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build an optimizer with a learning rate for each classifier, and the schedule."""
        optimizer = self.make_optimizer([{"params": [*head.parameters()]} for head in self.heads])
        for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
            group["lr"] *= rate
        return self.scheduled(optimizer)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of all modules but the backbone, which stays in evaluation."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def features(self, batch: dict[str, Any]) -> Tensor:
        """Image vectors (B, C) of a plain batch, or of one that has them already."""
        return batch["features"] if "features" in batch else super().features(batch)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Classify a batch with each classifier; the sum of their losses."""
        if "features" in batch:
            features = batch["features"]
        else:
            with torch.no_grad():
                features = self.compiled(self.encode)(batch["images"], batch["superpixels"])
        losses = [F.cross_entropy(head(features), batch["label"]) for head in self.heads]
        self.log("train/loss", losses[self._own], prog_bar=True, sync_dist=True)
        return torch.stack(losses).sum()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Count what each classifier gets right."""
        features = self.features(batch)
        scores = [head(features) for head in self.heads]
        for metric, score in zip(self._metrics, [*scores, scores[self._own]], strict=True):
            metric.update(score, batch["label"])

    def on_validation_epoch_end(self) -> None:
        """Log the accuracies over all validation images."""
        *accuracies, top5 = [metric.compute() for metric in self._metrics]
        for metric in self._metrics:
            metric.reset()
        if self.trainer.sanity_checking:
            return
        top1 = torch.stack(accuracies)
        self.best_top1 = torch.maximum(self.best_top1, top1[self._own])
        own = {"top1": top1[self._own], "top5": top5, "best_top1": self.best_top1}
        figures = {f"val/{name}": value for name, value in own.items()}
        if len(self.rates) > 1:
            for rate, value in zip(self.rates, top1, strict=True):
                figures[f"val/top1_rate{rate:g}"] = value
            figures["val/top1_best_rate"] = top1.max()
        self.log_dict({**figures, **self._knn}, sync_dist=True)

    def on_train_start(self) -> None:
        """Let cached features vote for their neighbours."""
        super().on_train_start()
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, CachedFeatures):
            memory, queries = data.features("train"), data.features("val")
            settings = data.num_classes, self.neighbours, self.temperature
            accuracy = knn_accuracy(memory, queries, *settings, self.device)
            self._knn = {"val/knn": accuracy["top1"], "val/knn_top5": accuracy["top5"]}

    @property
    def _metrics(self) -> list[MulticlassAccuracy]:
        """Top-1 of each classifier and, last, top-5 of the one to report."""
        return list(self.accuracies)  # type: ignore[arg-type]

    @property
    def _own(self) -> int:
        """Place of the classifier whose rate is the optimizer's."""
        return self.rates.index(1.0)

    def _encode(self, batch: dict[str, Any]) -> Tensor:
        with self.trainer.precision_plugin.val_step_context():
            return self.features(batch)

    def _identity(self) -> str:
        """What the features depend on, data apart."""
        settings = [str(self.backbone.config), self.readout, self.trainer.precision]
        return " ".join([fingerprint(self.backbone), *settings])
