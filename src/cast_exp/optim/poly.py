"""The learning rate of fine-tuning for segmentation."""

import math
from typing import Annotated, ClassVar

from pydantic import Field

from cast_exp.optim.schedules import Schedule, Share, Unit


class Poly(Schedule):
    """Learning rate: a power of the share of the training that is left.

    In the first steps it does not exceed a line from `start` to the peak.

    Args:
        power: 1 is a line to `end`; less than 1 keeps the rate high for longer.
        warmup_steps: Steps of the line.
        start: Share of the peak at the first step, 0..1.
        end: Share of the peak after the last step, 0..1.
    """

    unit: ClassVar[Unit] = "step"

    def __init__(
        self,
        power: Annotated[float, Field(gt=0)] = 0.9,
        warmup_steps: Annotated[int, Field(ge=0)] = 0,
        start: Share = 0.0,
        end: Share = 0.0,
    ) -> None:
        self.power = power
        self.warmup_steps = warmup_steps
        self.start = start
        self.end = end

    def factor(self, gone: float, total: float) -> float:
        """Share of the peak, 0..1; see `Schedule.factor`."""
        left = math.pow(max(0.0, 1 - gone / total), self.power)
        left = self.end + (1 - self.end) * left
        if gone < self.warmup_steps:
            left = min(left, self.start + (1 - self.start) * gone / self.warmup_steps)
        return left
