"""What is evaluated."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cast_exp.checkpoints import (
    Classifier,
    Weights,
    load_classifier,
    load_pretrained,
    load_projector,
    load_segmentation_head,
)
from cast_exp.checkpoints.load import locate
from cast_exp.data import ImageDataModule
from cast_exp.data.recognition import recognition_obstacle
from cast_exp.errors import UserError, listing
from cast_exp.models import Backbone, SegmentationModel
from cast_exp.models.registry import untrained
from cast_exp.tasks import BaseTask
from cast_exp.tasks.base import Readout, read_out


@dataclass(frozen=True)
class Subject:
    """A backbone, with what was trained on top of it if that is still there.

    Attributes:
        backbone: In evaluation mode, on the device where it is evaluated.
        projector: The projection head of contrastive pretraining, (..., C) -> (..., D), likewise;
            None if there was none or it was not kept.
        classifier: Of images, from supervised training or a linear probe, likewise.
        segmenter: The backbone with the head of a fine-tuning for segmentation, likewise.
    """

    backbone: Backbone
    projector: nn.Module | None = None
    classifier: Classifier | None = None
    segmenter: SegmentationModel | None = None

    @classmethod
    def of(cls, backbone: Backbone, checkpoint: str | Path, weights: Weights = "trained") -> Self:
        """A backbone that has been loaded, with what else its checkpoint holds.

        Args:
            backbone: What `load_pretrained` makes of the checkpoint.
            checkpoint, weights: See there.

        Raises:
            UserError: See `load_classifier` and the other functions that load heads.
        """
        path, fused = locate(checkpoint), backbone.fusion is not None
        head = load_segmentation_head(path, backbone.dim) if fused else None
        return cls(
            backbone.eval(),
            load_projector(path),
            load_classifier(path, weights),
            SegmentationModel(backbone, *head).eval() if head else None,
        )

    @classmethod
    def load(cls, checkpoint: str | Path, *, weights: Weights = "trained", **changes: Any) -> Self:
        """What a checkpoint holds.

        Args:
            checkpoint: See `load_pretrained`.
            weights: Likewise.
            changes: Its other arguments.

        Raises:
            UserError: See `load_pretrained`.
        """
        backbone = load_pretrained(checkpoint, weights=weights, **changes)
        return cls.of(backbone, checkpoint, weights)

    @classmethod
    def in_training(cls, task: BaseTask) -> Self:
        """What a task trains, with the heads it has made."""
        classifier = getattr(task, "classifier", None)
        return cls(
            task.backbone,
            getattr(task, "projector", None),
            classifier if isinstance(classifier, Classifier) else None,  # or one of a user's own
            getattr(task, "segmentation_model", None),
        )

    @property
    def networks(self) -> nn.ModuleList:
        """All there is, which share their weights with the above."""
        layer = self.classifier.layer if self.classifier else None
        networks = [self.backbone, self.projector, layer, self.segmenter]
        return nn.ModuleList(each for each in networks if each is not None)

    def untrained(self, seed: int) -> Self:
        """One of the same build that has not been trained.

        Raises:
            UserError: The backbone was not built by `create_model` or `load_pretrained`.
        """
        if self.backbone.config is None:
            raise UserError("only a backbone of create_model or load_pretrained can be built anew")
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            backbone = untrained(self.backbone.config)
            projector, classifier = deepcopy((self.projector, self.classifier))
            scorer = self.segmenter and deepcopy(self.segmenter.head)
            if scorer:
                scorer.reset_parameters()
            for head in (projector, classifier and classifier.layer):
                for module in head.modules() if head else ():
                    if isinstance(module, nn.Linear | _BatchNorm):
                        module.reset_parameters()
        return type(self)(
            backbone,
            projector,
            classifier,
            SegmentationModel(backbone, scorer, self.segmenter.classes)
            if self.segmenter and scorer
            else None,
        )


def check_recognition(images: ImageDataModule, readout: Readout, subject: Subject | None) -> None:
    """Look whether a subject can be evaluated by the classes of images.

    Raises:
        UserError: Missing data, nothing to recognise (see `recognition_obstacle`), or a backbone
            without fusion block to read.
    """
    images.raw("train")
    if obstacle := recognition_obstacle(images):
        raise UserError(f"kNN and linear probes (evaluate) need other data: {obstacle}")
    if subject is not None:
        read_out(subject.backbone.look(last_grouping=False), readout)


def check_classes(what: str, outputs: int, names: Sequence[str], data: Sequence[str]) -> None:
    """Make sure that a head was trained on the classes that data have, in their order.

    Args:
        what: The evaluation.
        outputs: Classes that the head tells apart.
        names: Their names; none if these are not known, and their number is all there is to tell.
        data: Names of the classes of the data.

    Raises:
        UserError: It was not.
    """
    count = len(names) or outputs
    differs = f"it has {count} classes, the data have {len(data)}" if count != len(data) else ""
    for number, (there, here) in enumerate(zip(names, data, strict=False)):
        if not differs and there != here:
            differs = f"class {number} is {listing([there])} there and {here} in the data"
    if differs:
        raise UserError(
            f"{what}: the head in the checkpoint was trained on other data: {differs}; choose the "
            "data that it was trained on"
        )
