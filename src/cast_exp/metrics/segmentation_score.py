"""All that is said of semantic segmentations of scenes, in training and afterwards."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchmetrics import Metric

from cast_exp.metrics.boundary import BoundaryF
from cast_exp.metrics.metric_states import add_states, states_of
from cast_exp.metrics.segmentation import SegmentationIoU, count_table
from cast_exp.ops import contingency


class SegmentationScore(nn.Module):
    """IoU, boundary F, and what an oracle would reach that gives whole segments one class.

    Args:
        classes: Number of classes.
        levels: Number of levels of segments above the superpixels.
        tolerance: See `BoundaryF`.
        options: Of torchmetrics' `Metric`.

    Attributes:
        iou: Of the prediction.
        boundary: Likewise.
        ceilings: IoU if each segment took the class that most of its pixels have, by level,
            superpixels first; those are scored by the share that each class has of their pixels.
    """

    def __init__(self, classes: int, levels: int, tolerance: float, **options: Any) -> None:
        super().__init__()
        self.iou = SegmentationIoU(classes, **options)
        self.boundary = BoundaryF(classes, tolerance, **options)
        self.ceilings = nn.ModuleList(
            SegmentationIoU(classes, **options) for _ in range(1 + levels)
        )

    def update(
        self,
        predicted: Tensor,
        superpixels: Tensor,
        levels: Sequence[Tensor],
        truth: Tensor,
        paint: Callable[[Tensor], Tensor],
    ) -> None:
        """Add a scene.

        Args:
            predicted: Class of each pixel, int64 (H, W).
            superpixels: Superpixel of each pixel, int64 (H, W).
            levels: Segment of each superpixel at each level, superpixels themselves first, int64
                (N,) each; there may be more than are scored.
            truth: Class of each pixel, int64 (H, W); labels of no class are void.
            paint: Makes classes of pixels, int64 (H, W), of class scores of superpixels (N, K).
        """
        classes = self.iou.num_classes
        pixels = contingency(superpixels, truth, (len(levels[0]), classes))
        self.iou.update(predicted, truth)
        self.boundary.update(predicted, truth)
        shares = pixels / pixels.sum(1, keepdim=True).clamp(min=1)
        self.ceilings[0].update(paint(shares), truth)  # type: ignore[operator]
        for labels, ceiling in zip(levels[1:], self.ceilings[1:], strict=False):
            segments = pixels.new_zeros(int(labels.max()) + 1, classes)
            best = segments.index_add(0, labels, pixels).argmax(1)
            ceiling.update_table(count_table(best[labels], pixels))  # type: ignore[operator]

    def compute(self) -> dict[str, Tensor]:
        """Figures in 0..1 over all scenes.

        Returns:
            "miou", "pixel_accuracy", "mean_accuracy", "boundary_f", "ceiling" of superpixels, and
            "ceiling_level<number>" of segments.
        """
        found = self.iou.compute()
        figures = {
            "miou": found["miou"],
            "pixel_accuracy": found["accuracy"],
            "mean_accuracy": found["mean_accuracy"],
            "boundary_f": self.boundary.compute()["boundary_f"],
        }
        for level, ceiling in enumerate(self.ceilings):
            name = f"ceiling_level{level}" if level else "ceiling"
            figures[name] = ceiling.compute()["miou"]  # type: ignore[operator]
        return figures

    def reset(self) -> None:
        """Forget all scenes."""
        for metric in self._metrics().values():
            metric.reset()

    def tensors(self) -> dict[str, Tensor]:
        """All there is to keep or to send, by name."""
        return states_of(self._metrics())

    def add(self, tensors: Mapping[str, Tensor]) -> None:
        """Add the scenes of another score, given as its `tensors`."""
        add_states(self._metrics(), tensors)

    def _metrics(self) -> dict[str, Metric]:
        return {name: part for name, part in self.named_modules() if isinstance(part, Metric)}
