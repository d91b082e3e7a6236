"""Numbers that change in the course of training."""

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field

Share = Annotated[float, Field(ge=0, le=1)]
Unit = Literal["epoch", "step"]


class Schedule(ABC):
    """Course of a learning rate.

    Attributes:
        unit: What it counts.
    """

    unit: ClassVar[Unit] = "epoch"

    @abstractmethod
    def factor(self, gone: float, total: float) -> float:
        """Share of the peak, 0..1.

        Args:
            gone: Epochs, with a fraction, or steps gone by.
            total: Epochs or steps in all.
        """


class WarmupCosine(Schedule):
    """Learning rate: up to its peak along a line, then down along half a cosine.

    Args:
        warmup_epochs: Epochs before the peak; a shorter run never reaches it.
        start: Share of the peak at the first step, 0..1.
        end: Share of the peak after the last step, 0..1.
        warmup_apart: Whether the cosine begins after the warm-up. If not, it runs over all epochs,
            and the warm-up takes the place of its beginning, as in timm.
    """

    def __init__(
        self,
        warmup_epochs: Annotated[float, Field(ge=0)],
        start: Share = 0.0,
        end: Share = 0.0,
        warmup_apart: bool = True,
    ) -> None:
        self.warmup_epochs = warmup_epochs
        self.start = start
        self.end = end
        self.warmup_apart = warmup_apart

    def factor(self, gone: float, total: float) -> float:
        """Share of the peak, 0..1; see `Schedule.factor`."""
        begin = self.warmup_epochs if self.warmup_apart else 0.0
        if gone < self.warmup_epochs or total <= begin:
            return self.start + (1 - self.start) * gone / self.warmup_epochs
        progress = (gone - begin) / (total - begin)
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * progress)) / 2


def cosine_momentum(start: float, progress: float) -> float:
    """Momentum of a momentum encoder: from `start` to 1 along half a cosine.

    Args:
        start: Momentum at the beginning, 0..1.
        progress: Share of the training gone by, 0..1.
    """
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2
