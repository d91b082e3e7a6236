"""What is evaluated."""

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from cast_exp.checkpoints.load import load_pretrained, load_projector
from cast_exp.data import ImageDataModule
from cast_exp.data.recognition import recognition_obstacle
from cast_exp.errors import UserError
from cast_exp.models import Backbone
from cast_exp.models.registry import untrained
from cast_exp.tasks.base import Readout, read_out


@dataclass(frozen=True)
class Subject:
    """A backbone, with what was trained on top of it if that is still there.

    Attributes:
        backbone: In evaluation mode, on the device where it is evaluated.
        projector: The projection head of contrastive pretraining, (..., C) -> (..., D), likewise;
            None if there was none or it was not kept.
    """

    backbone: Backbone
    projector: nn.Module | None = None

    @classmethod
    def load(cls, checkpoint: str | Path, **changes: Any) -> Self:
        """What a checkpoint holds.

        Args:
            checkpoint: See `load_pretrained`.
            changes: Its other arguments.

        Raises:
            UserError: See `load_pretrained`.
        """
        return cls(load_pretrained(checkpoint, **changes).eval(), load_projector(checkpoint))

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
            projector = deepcopy(self.projector)
            for module in [] if projector is None else projector.modules():
                if isinstance(module, nn.Linear | nn.BatchNorm1d):
                    module.reset_parameters()
        return replace(self, backbone=backbone, projector=projector)


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
