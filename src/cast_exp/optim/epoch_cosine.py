"""The learning rate of linear probing."""

import math

from cast_exp.optim.schedules import WarmupCosine


class EpochCosine(WarmupCosine):
    """Learning rate: half a cosine from its peak, one value for each epoch, without warm-up.

    The last epoch still learns: the rate would reach 0 in the one after it. So does the official
    linear probe.
    """

    def __init__(self) -> None:
        super().__init__(warmup_epochs=0)

    def factor(self, gone: float, total: float) -> float:
        """Share of the peak, 0..1; see `Schedule.factor`."""
        return super().factor(math.floor(gone), total)
