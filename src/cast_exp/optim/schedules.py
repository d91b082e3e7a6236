"""Numbers that change in the course of training."""

import math
from typing import Annotated

from pydantic import Field

Share = Annotated[float, Field(ge=0, le=1)]


class WarmupCosine:
    """Learning rate: up to its peak along a line, then down along half a cosine.

    Args:
        warmup_epochs: Epochs before the peak; a shorter run never reaches it.
        start: Share of the peak at the first step, 0..1.
        end: Share of the peak after the last step, 0..1.
    """

    def __init__(
        self, warmup_epochs: Annotated[float, Field(ge=0)], start: Share = 0.0, end: Share = 0.0
    ) -> None:
        self.warmup_epochs = warmup_epochs
        self.start = start
        self.end = end

    def factor(self, epoch: float, epochs: int) -> float:
        """Share of the peak, 0..1.

        Args:
            epoch: Epochs gone by, with a fraction.
            epochs: Epochs in all.
        """
        if 0 < self.warmup_epochs >= epoch:
            return self.start + (1 - self.start) * epoch / self.warmup_epochs
        progress = (epoch - self.warmup_epochs) / (epochs - self.warmup_epochs)
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * progress)) / 2


def cosine_momentum(start: float, progress: float) -> float:
    """Momentum of a momentum encoder: from `start` to 1 along half a cosine.

    Args:
        start: Momentum at the beginning, 0..1.
        progress: Share of the training gone by, 0..1.
    """
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2
