"""How right a prediction for each segment is; processes and interrupted calls add up."""

from collections.abc import Mapping

from torch import Tensor
from torchmetrics import Metric

from cast_exp.metrics.boundary import BoundaryF
from cast_exp.metrics.metric_states import add_states, states_of
from cast_exp.metrics.segmentation import SegmentationIoU, count_table


class Ceiling:
    """The mIoU if each segment took the class that most of its pixels have.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        self.best = SegmentationIoU(classes, sync_on_compute=False)

    def update(self, counts: Tensor) -> None:
        """Add an image.

        Args:
            counts: Pixels of each class in each segment, void left out, int64 (S, classes).
        """
        self.best.update_table(count_table(counts.argmax(1), counts))

    def compute(self) -> float:
        """In 0..1."""
        return float(self.best.compute()["miou"])


class LevelScore:
    """Figures over the validation images for segments of one level.

    Args:
        classes: Number of classes.
        tolerance: See `BoundaryF`.
    """

    def __init__(self, classes: int, tolerance: float) -> None:
        self.regions = SegmentationIoU(classes, sync_on_compute=False)
        self.boundaries = BoundaryF(classes, tolerance, sync_on_compute=False)
        self.ceiling = Ceiling(classes)

    def update(self, predicted: Tensor, counts: Tensor, painted: Tensor, truth: Tensor) -> None:
        """Add an image.

        Args:
            predicted: Class of each segment, int64 (S,).
            counts: Pixels of each class in each segment, void left out, int64 (S, classes).
            painted: `predicted` on pixels, int64 (H, W).
            truth: Classes of pixels, 255 for void, int64 (H, W).
        """
        self.regions.update_table(count_table(predicted, counts))
        self.boundaries.update(painted, truth)
        self.ceiling.update(counts)

    def compute(self) -> dict[str, float]:
        """Figures in 0..1 by name; see `Retrieval`."""
        regions, boundaries = self.regions.compute(), self.boundaries.compute()
        figures = {name: float(regions[name]) for name in ("miou", "accuracy")}
        names = ("boundary_f", "boundary_precision", "boundary_recall")
        figures |= {name: float(boundaries[name]) for name in names}
        return figures | {"ceiling": self.ceiling.compute()}

    def by_class(self) -> dict[str, list[float]]:
        """ "iou" and "boundary_f" of each class; nan where there is none."""
        return {
            "iou": self.regions.compute()["iou"].tolist(),
            "boundary_f": self.boundaries.compute()["boundary_f_class"].tolist(),
        }


class Scores:
    """Scores of some images, of all levels that something was predicted for.

    Args:
        classes: Number of classes.
        tolerance: See `BoundaryF`.

    Attributes:
        levels: Score of each level.
        finest: Ceiling of the finest parts.
    """

    def __init__(self, classes: int, tolerance: float) -> None:
        self.classes = classes
        self.tolerance = tolerance
        self.levels: dict[int, LevelScore] = {}
        self.finest = Ceiling(classes)

    def level(self, level: int) -> LevelScore:
        """The score of a level, which is empty at first."""
        return self.levels.setdefault(level, LevelScore(self.classes, self.tolerance))

    def tensors(self) -> dict[str, Tensor]:
        """All there is to keep or to send, by name."""
        return states_of(self._metrics())

    def add(self, tensors: Mapping[str, Tensor]) -> None:
        """Add the images of other scores, given as their `tensors`."""
        for name in tensors:
            if (level := name.partition("/")[0]).isdigit():
                self.level(int(level))
        add_states(self._metrics(), tensors)

    def _metrics(self) -> dict[str, Metric]:
        found: dict[str, Metric] = {"finest": self.finest.best}
        for level, score in self.levels.items():
            found[f"{level}/regions"] = score.regions
            found[f"{level}/boundaries"] = score.boundaries
            found[f"{level}/ceiling"] = score.ceiling.best
        return found
