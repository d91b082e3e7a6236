"""Supervised training by the recipe of DeiT (Touvron et al., 2021)."""

import logging
from collections.abc import Callable
from typing import Annotated, Any

from lightning.pytorch import LightningDataModule
from pydantic import Field
from timm.data.mixup import mixup_target
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from cast_exp.checkpoints.classifier import CLASSIFIER, Classifier
from cast_exp.data import Mixing, RawDataModule
from cast_exp.data.recognition import recognition_obstacle
from cast_exp.errors import UserError
from cast_exp.models import Backbone
from cast_exp.ops import Superpixels
from cast_exp.optim import ParameterGroups, Schedule, no_decay_on_norm_and_bias
from cast_exp.tasks.base import BaseTask, Readout
from cast_exp.tasks.compilation import Compile

log = logging.getLogger(__name__)


class ClassificationTask(BaseTask):
    """Trains a backbone and a linear head to name the class of an image.

    Images of a batch are mixed, and so are their classes. A moving average follows all weights and
    batch statistics, at each optimizer step; it is `average.module["backbone"]` and ["head"], in
    checkpoints too. Both are validated, on all images over all devices.

    Logs "train/loss" at each step, for the global batch, and "val/top1", "val/top5" (share of
    images, 0..1, whose class is the best or among the best five) and "val/ema_top1", which is the
    average's.

    Args:
        backbone: Makes hierarchies of images.
        optimizer: Makes a torch optimizer from parameter groups.
        schedule: Course of the learning rate.
        parameter_groups: Chooses the parameters to train and their decay.
        readout: What the head reads: "cls" (class token) or "fused_mean" (mean of the fused
            features of its superpixels; needs a fusion block).
        seed: Seed of the run.
        mixing: Mixes images; None for images as they are.
        label_smoothing: Share of the target that is spread over all classes.
        ema_decay: Share of the moving average that stays at each step.
        classes: Number of classes; None for that of the trainer's data.
        sync_batch_norm: Whether several processes share their batch statistics.
        compile: See `BaseTask`.

    Raises:
        UserError: The backbone has no fusion block to read, or trains a grouping that the loss
            does not depend on.
    """

    averages = True
    figures = ("val/top1", "val/top5", "val/ema_top1")

    evaluated_by = "classification"
    head: nn.Linear
    average: ModelEmaV3

    def __init__(
        self,
        backbone: Backbone,
        optimizer: Callable[..., Optimizer],
        schedule: Schedule,
        parameter_groups: Callable[..., ParameterGroups] = no_decay_on_norm_and_bias,
        readout: Readout = "cls",
        seed: Annotated[int, Field(ge=0)] = 0,
        mixing: Mixing | None = None,
        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        ema_decay: Annotated[float, Field(ge=0, le=1)] = 0.99996,
        classes: Annotated[int, Field(ge=1)] | None = None,
        sync_batch_norm: bool = True,
        compile: Compile = "auto",
    ) -> None:
        super().__init__(backbone, optimizer, schedule, parameter_groups, readout, seed, compile)
        if backbone.groups_last_stage and backbone.train_last_grouping:
            raise UserError(
                "model.train_last_grouping=true, but classification does not depend on the last "
                "grouping; set it to false"
            )
        self.mixing = mixing
        self.label_smoothing = label_smoothing
        self.ema_decay = ema_decay
        self.classes = classes
        self.sync_batch_norm = sync_batch_norm

    def training_data(self, data: RawDataModule) -> LightningDataModule:
        """The images; see `BaseTask.training_data`.

        Raises:
            UserError: There are no classes to name, or no images to validate on.
        """
        images = super().training_data(data)
        data.raw("val")
        if data.num_classes < 2:
            raise UserError(
                "classification needs images of at least two classes; choose labelled data"
            )
        if obstacle := recognition_obstacle(data):
            log.info("validation says nothing of recognition: %s", obstacle)
        return images

    def configure_model(self) -> None:
        """Create the head, the moving average and the metrics, which need the number of classes."""
        if hasattr(self, "head"):
            return
        classes = self.classes or self.trainer.datamodule.num_classes  # type: ignore[attr-defined]
        self.head = nn.Linear(self.backbone.dim, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.average = ModelEmaV3(self._averaged(), self.ema_decay).requires_grad_(False)
        best = {"top1": 1, "top5": min(5, classes), "ema_top1": 1}
        self.accuracy = nn.ModuleDict(
            {
                name: MulticlassAccuracy(classes, top_k=k, average="micro")
                for name, k in best.items()
            }
        )

    @property
    def classifier(self) -> Classifier:
        """What names the classes of images."""
        return self.classifier_of(self.head)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what it takes to build backbone and head again."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[CLASSIFIER] = self.classifier.described("head.")

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Name the classes of a batch of mixed images."""
        images, superpixels, own = batch["images"], batch["superpixels"], 1.0
        if self.mixing is not None:
            images, superpixels, own = self.mixing(images, superpixels)
        classes = self.head.out_features
        targets: Tensor = mixup_target(batch["label"], classes, own, self.label_smoothing)
        scores = self.compiled(self._score)(images, superpixels)
        loss = F.cross_entropy(scores.float(), targets)
        size = len(targets)
        self.log("train/loss", loss, prog_bar=True, sync_dist=True, batch_size=size)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make a step and move the average on."""
        super().optimizer_step(*args, **kwargs)
        self.average.update(self._averaged())

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Score the model and its average on a batch."""
        average = self.average.module
        hierarchy = average["backbone"](batch["images"], batch["superpixels"], last_grouping=False)
        scores = self.head(self.features(batch))
        averaged = average["head"](self.read(hierarchy))
        for name, metric in self.accuracy.items():
            assert isinstance(metric, MulticlassAccuracy)
            metric.update(averaged if name.startswith("ema") else scores, batch["label"])
            self.log(f"val/{name}", metric, on_step=False, on_epoch=True)

    def _score(self, images: Tensor, superpixels: Superpixels) -> Tensor:
        scores: Tensor = self.head(self.encode(images, superpixels))
        return scores

    def _averaged(self) -> nn.ModuleDict:
        return nn.ModuleDict({"backbone": self.backbone, "head": self.head})
