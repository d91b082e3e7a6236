"""Fine-tuning for semantic segmentation (paper, section 4 and its appendix)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from lightning.pytorch import LightningDataModule
from pydantic import Field
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from cast_exp.checkpoints.segmentation import CLASSES
from cast_exp.data import Scene, SceneDataModule
from cast_exp.data.base import RawDataModule
from cast_exp.errors import UserError
from cast_exp.losses import enlarged_cross_entropy, pixel_cross_entropy
from cast_exp.metrics import SegmentationScore
from cast_exp.metrics.boundary import Tolerance
from cast_exp.models import Backbone, SegmentationModel
from cast_exp.models.heads import Decoder, SegmentationHead
from cast_exp.models.registry import untrained
from cast_exp.models.segmentation import require_fusion
from cast_exp.ops import Superpixels
from cast_exp.ops.labels import nearest
from cast_exp.optim import (
    ParameterGroups,
    Schedule,
    finetuning_groups,
    keep_rate_in_momentum,
)
from cast_exp.tasks.base import BaseTask
from cast_exp.tasks.compilation import Compile


class SegmentationTask(BaseTask):
    """Trains a backbone and a head on its superpixels to name the class of each pixel.

    Trains on random crops, validates on images of any size, one at a time, whole or in windows.
    Scores of a ViT's patches are enlarged bilinearly to pixels.

    Logs "train/loss", the cross-entropy over pixels, at each step; after each validation, over all
    images and in 0..1, "val/miou", "val/pixel_accuracy" and "val/mean_accuracy" (see
    `SegmentationIoU`), "val/boundary_f" (see `BoundaryF`), and what an oracle would reach that
    gives all of a superpixel the class most of it has, "val/ceiling", or all of a segment at a
    level, "val/ceiling_level1" and so on.

    Args:
        backbone: Makes hierarchies of images; with a fusion block.
        optimizer: Makes a torch optimizer from parameter groups.
        schedule: Course of the learning rate.
        parameter_groups: Chooses the parameters to train, their decay and rates.
        seed: Seed of the run.
        decoder: Makes the head, of the width of the features and the number of classes.
        from_scratch: Train a backbone of the same build from random weights: the control that shows
            what its pretraining is worth.
        train_codes: Train learned position codes and class token too, instead of leaving them as
            they are.
        tolerance: Distance up to which a boundary counts as found, as a share of the diagonal.
        bilinear_logits: Enlarge scores on the superpixels' map, of half the crop's size, bilinearly
            for the loss as well, so that pixels near a border get a blend of both sides.
        pixel_norm: See `SegmentationModel`.
        clamp_variance: See `SyncBatchNorm.clamp`; of all batch norms.
        rate_in_momentum: See `keep_rate_in_momentum`; otherwise the optimizer is torch's own.
        sync_batch_norm: Whether several processes share their batch statistics.
        compile: See `BaseTask`.

    Raises:
        UserError: The backbone has no fusion block.
    """

    trains_on = SceneDataModule
    evaluated_by = "segmentation"
    head: Decoder

    figures = (
        "val/miou",
        "val/pixel_accuracy",
        "val/mean_accuracy",
        "val/boundary_f",
        "val/ceiling",
        "val/ceiling_level*",
    )

    def __init__(
        self,
        backbone: Backbone,
        optimizer: Callable[..., Optimizer],
        schedule: Schedule,
        parameter_groups: Callable[..., ParameterGroups] = finetuning_groups,
        seed: Annotated[int, Field(ge=0)] = 0,
        decoder: Callable[..., Decoder] = SegmentationHead,
        from_scratch: bool = False,
        train_codes: bool = False,
        tolerance: Tolerance = 0.0075,
        bilinear_logits: bool = False,
        pixel_norm: bool = False,
        clamp_variance: bool = False,
        rate_in_momentum: bool = False,
        sync_batch_norm: bool = True,
        compile: Compile = "auto",
    ) -> None:
        require_fusion(backbone)
        if from_scratch:
            if backbone.config is None:
                raise UserError("finetune.from_scratch needs a backbone whose build is known")
            backbone = untrained(backbone.config)
        super().__init__(
            backbone, optimizer, schedule, parameter_groups, seed=seed, compile=compile
        )
        self.decoder = decoder
        self.tolerance = tolerance
        self.bilinear_logits = bilinear_logits
        self.pixel_norm = pixel_norm
        self.clamp_variance = clamp_variance
        self.rate_in_momentum = rate_in_momentum
        self.sync_batch_norm = sync_batch_norm
        self.classes: list[str] = []
        for name, parameter in () if train_codes else backbone.named_parameters():
            if name.rpartition(".")[2] not in ("weight", "bias"):
                parameter.requires_grad_(False)
        self.train()  # Lightning trains a new module in the mode it finds it in

    @property
    def segmentation_model(self) -> SegmentationModel:
        """Backbone and head as one."""
        return SegmentationModel(self.backbone, self.head, self.classes, self.pixel_norm)

    def training_data(self, data: RawDataModule) -> LightningDataModule:
        """The scenes.

        Raises:
            UserError: The data has no semantic classes on pixels.
        """
        scenes = self.of_kind(SceneDataModule, data)
        scenes.need("semantic", "train", windows=True)
        scenes.need("semantic", "val", windows=True)
        return scenes

    def configure_model(self) -> None:
        """Create the head and the metrics, which need the classes of the data."""
        if self.classes:
            return
        self.classes = list(self.trainer.datamodule.semantic_classes)  # type: ignore[attr-defined]
        self.head = self.decoder(self.backbone.dim, len(self.classes))
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.clamp = self.clamp_variance  # type: ignore[assignment]
        levels = self.backbone.config.levels if self.backbone.config else ()
        self.score = SegmentationScore(len(self.classes), len(levels), self.tolerance)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what it takes to build backbone and head again."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[CLASSES] = self.classes

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Name the classes of the pixels of a batch of crops."""
        truth = batch["semantic"]
        loss = self.compiled(self._loss)(batch["images"], batch["superpixels"], truth)
        size = len(truth)
        self.log("train/loss", loss, prog_bar=True, sync_dist=True, batch_size=size)
        return loss

    def _loss(self, images: Tensor, superpixels: Superpixels, truth: Tensor) -> Tensor:
        segmented = self.segmentation_model(images, superpixels)
        hierarchy = segmented.hierarchy
        if self.bilinear_logits or hierarchy.grid is not None:
            return enlarged_cross_entropy(hierarchy.on_pixels(segmented.logits.float()), truth)
        labels = nearest(hierarchy.superpixels, *truth.shape[-2:])
        return pixel_cross_entropy(segmented.logits, labels, truth)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Have the momentum hold the rate, if it is to; see `BaseTask`."""
        super().on_before_optimizer_step(optimizer)
        if self.rate_in_momentum:
            keep_rate_in_momentum(optimizer)

    def validation_step(self, scene: Scene, batch_idx: int) -> None:
        """Count what is right in a scene, on its superpixels."""
        with _without_trials():  # each scene may have another size
            predicted = self.segmentation_model.predict(
                scene.image,
                scene.superpixels,
                scene.full_superpixels,
                last_grouping=True,
                windows=scene.windows,
            )
        truth = torch.as_tensor(scene.truth["semantic"]).long()
        self.score.update(
            predicted.pixels, predicted.superpixels, predicted.levels, truth, predicted.paint
        )

    def on_validation_epoch_end(self) -> None:
        """Log the figures over all scenes."""
        figures = self.score.compute()
        self.score.reset()
        values = {f"val/{name}": value.float() for name, value in figures.items()}
        self.log_dict(values, sync_dist=True)


@contextmanager
def _without_trials() -> Iterator[None]:
    """Let cuDNN choose convolutions without trying them; `flags` of torch sets others as well."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
