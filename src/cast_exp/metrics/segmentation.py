"""Semantic segmentation: IoU over a data set, and the best that segments allow."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from cast_exp.ops import contingency
from cast_exp.ops.labels import LabelMap


class SegmentationIoU(Metric):
    """Intersection over union of semantic classes, and pixel accuracy, over a whole data set.

    Pixels of all images are counted in one table, then
    IoU = right / (in truth + in prediction - right) for each class (Pascal VOC). Pixels that are
    void in truth do not count, whatever is predicted there.

    Args:
        num_classes: Classes have the labels 0..num_classes-1.
        options: Of torchmetrics' `Metric`.

    Attributes:
        table: Pixels by class in truth and in prediction, int64 (num_classes, num_classes).
    """

    full_state_update = False
    table: Tensor

    def __init__(self, num_classes: int, **options: Any) -> None:
        super().__init__(**options)
        self.num_classes = num_classes
        self.add_state(
            "table", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum"
        )

    def update(self, prediction: LabelMap, truth: LabelMap) -> None:
        """Add an image, or several.

        Args:
            prediction: Class of each pixel.
            truth: Likewise, of the same shape; labels outside 0..num_classes-1 are void.

        Raises:
            ValueError: The shapes differ, or a pixel that is not void is given no class.
        """
        prediction = torch.as_tensor(prediction)
        truth = torch.as_tensor(truth, device=prediction.device)
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction is {(*prediction.shape,)}, truth {(*truth.shape,)}")
        counted = (truth >= 0) & (truth < self.num_classes)
        predicted = prediction[counted].long()
        if predicted.numel() and not 0 <= predicted.min() <= predicted.max() < self.num_classes:
            raise ValueError(f"predicted classes must be in 0..{self.num_classes - 1}")
        shape = (self.num_classes, self.num_classes)
        self.update_table(contingency(truth[counted].long(), predicted, shape))

    def update_table(self, table: Tensor) -> None:
        """Add counted pixels.

        Args:
            table: Pixels by class in truth (row) and in prediction (column), int64
                (num_classes, num_classes).
        """
        self.table += table.to(self.table)
        self._computed = None  # what torchmetrics sees to in `update` only
        self._update_count += 1

    def compute(self) -> dict[str, Tensor]:
        """Figures in 0..1, nan if nothing was counted.

        Returns:
            "miou": mean IoU over the classes that occur in truth or in prediction; "accuracy":
            share of pixels with the right class; "mean_accuracy": mean of that share over the
            classes that occur in truth; "iou": of each class, (num_classes,), nan for one that does
            not occur.
        """
        right = self.table.diagonal().double()
        occurring = self.table.sum(0) + self.table.sum(1)
        iou = right / (occurring - right)  # 0 / 0 for a class that does not occur
        return {
            "miou": iou.nanmean(),
            "accuracy": right.sum() / self.table.sum(),
            "mean_accuracy": (right / self.table.sum(1)).nanmean(),
            "iou": iou,
        }


def count_table(predicted: Tensor, counts: Tensor) -> Tensor:
    """Count pixels by class in truth and in prediction where whole segments get a class.

    Args:
        predicted: Class of each segment, int64 (S,).
        counts: Pixels of each segment by class in truth, int64 (S, classes).

    Returns:
        As `SegmentationIoU.update_table` takes it, int64 (classes, classes).
    """
    classes = counts.size(1)
    return counts.new_zeros(classes, classes).index_add_(1, predicted, counts.T)
