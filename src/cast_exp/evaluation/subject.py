"""What is evaluated."""

from dataclasses import dataclass

from torch import nn

from cast_exp.models import Backbone


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
