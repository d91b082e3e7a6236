"""What of a run will be otherwise than its config asks for, told before it begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lightning.pytorch import Trainer

from cast_exp.data.base import RawDataModule
from cast_exp.data.datasets import Split
from cast_exp.evaluation import BaseEvaluation
from cast_exp.models import Backbone
from cast_exp.models.pooling import segment_count
from cast_exp.optim import Schedule
from cast_exp.run.plan import Plan

_NEAR = 0.9  # of what was asked for, and of the peak of a learning rate
_LOOKS = 100  # at a learning rate in the course of a run


@dataclass(frozen=True)
class Counts:
    """Superpixels of an image, and the segments they are grouped into.

    Attributes:
        asked: Superpixels asked for.
        superpixels: Superpixels of the first image.
        levels: Segments asked for at each level, as counts or fractions.
    """

    asked: int
    superpixels: int
    levels: Sequence[int | float]

    @classmethod
    def of(
        cls,
        data: RawDataModule,
        split: Split,
        backbone: Backbone,
        levels: Sequence[int | float] | None = None,
    ) -> "Counts | None":
        """Those of the first image that can be read; None for square patches, which are no choice.

        Args:
            data: Where it is from.
            split: See `RawDataModule.first_superpixels`.
            backbone: What groups the superpixels.
            levels: Other levels than its own.
        """
        config = backbone.config
        if config is None or backbone.patch_size:
            return None
        there = data.first_superpixels(split)
        levels = config.levels if levels is None else levels
        return None if there is None else cls(data.superpixel.count, there, levels)

    @property
    def segments(self) -> list[int]:
        """Segments that there can be at each level."""
        found = [self.superpixels]
        for level in self.levels:
            found.append(int(segment_count(level, self.superpixels, found[-1])))
        return found[1:]

    def rows(self) -> dict[str, str]:
        """What there is to show in a table."""
        asked = "" if self.superpixels == self.asked else f" ({self.asked} asked for)"
        rows = {"superpixels of an image": f"{self.superpixels}{asked}"}
        return rows | ({"segments": ", ".join(map(str, self.segments))} if self.levels else {})

    def notes(self) -> list[str]:
        """What cannot be met, a line each."""
        lines = []
        if self.superpixels < _NEAR * self.asked:
            lines.append(
                f"{self.asked} superpixels are asked for, but an image of this size has "
                f"{self.superpixels}"
            )
        same = [b for a, b in pairwise([self.superpixels, *self.segments]) if a == b]
        if same:
            lines.append(
                f"levels {list(self.levels)}: of {self.superpixels} superpixels, the level"
                f"{'s' * (len(same) > 1)} of {' and '.join(map(str, same))} segments group nothing"
            )
        return lines


def rate_notes(schedule: Schedule, plan: Plan, trainer: Trainer) -> list[str]:
    """A line if the learning rate will not come near its peak.

    Args:
        schedule: Course of the learning rate.
        plan: Steps of the run.
        trainer: Its epochs are what schedules run over, if it has any.
    """
    epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else plan.epochs
    per_epoch = max(plan.steps_per_epoch, 1)
    gone, total = plan.steps / per_epoch, float(epochs)
    if schedule.unit == "step":
        gone, total = float(plan.steps), float(max(epochs * per_epoch, plan.steps))
    looks = (schedule.factor(gone * look / _LOOKS, total) for look in range(_LOOKS + 1))
    if plan.steps == 0 or (most := max(looks)) >= _NEAR:
        return []
    return [
        f"optim.schedule: the warm-up is longer than the run of {plan.steps} steps; the learning "
        f"rate comes to {most:.0%} of its peak"
    ]


def evaluation_notes(evaluations: Mapping[str, BaseEvaluation], backbone: Backbone) -> list[str]:
    """What the superpixels of a first image are too few for, a line each.

    Args:
        evaluations: By name.
        backbone: What is evaluated.
    """
    lines = []
    for name, evaluation in evaluations.items():
        levels = getattr(evaluation, "levels", None)
        if counts := Counts.of(evaluation.data, "val", backbone, levels):
            lines += [f"{name}: {note}" for note in counts.notes()]
    return lines
