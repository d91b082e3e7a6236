"""How right named segments are: objects and parts, image by image and over the data set."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cast_exp.evaluation.records import Record, dense, sparse
from cast_exp.metrics import BoundaryF, SegmentationIoU
from cast_exp.metrics.metric_states import add_states, states_of


class NamingScore:
    """Region mIoU, pixel accuracy and boundary F of label maps.

    Args:
        classes: Number of classes of each kind of map ("object", "part"), the background first.
        tolerance: See `BoundaryF`.
    """

    def __init__(self, classes: Mapping[str, int], tolerance: float) -> None:
        self.iou = {
            kind: SegmentationIoU(count, sync_on_compute=False) for kind, count in classes.items()
        }
        self.boundary = {
            kind: BoundaryF(count, tolerance, sync_on_compute=False)
            for kind, count in classes.items()
        }
        self._mious: dict[str, list[float]] = {kind: [] for kind in classes}

    def update(self, predicted: Mapping[str, Tensor], truth: Mapping[str, Any]) -> None:
        """Add an image, the first one of this object.

        Args:
            predicted: Class of each pixel by kind, int64 (H, W).
            truth: Likewise.
        """
        for kind in self.iou:
            drawn = torch.as_tensor(truth[kind]).long()
            self.iou[kind].update(predicted[kind], drawn)
            self.boundary[kind].update(predicted[kind], drawn)

    def record(self) -> Record:
        """The one image that was added, in plain values."""
        mious = {kind: float(metric.compute()["miou"]) for kind, metric in self.iou.items()}
        states = {name: sparse(value) for name, value in states_of(self._metrics()).items()}
        return {"miou": mious, **states}

    def add(self, record: Record) -> None:
        """Add the `record` of an image."""
        like = states_of(self._metrics())
        add_states(self._metrics(), {name: dense(record[name], like[name]) for name in like})
        for kind, miou in record["miou"].items():
            self._mious[kind].append(miou)

    def figures(self) -> dict[str, float]:
        """Figures in 0..1 of all images.

        Returns:
            For each kind: "<kind>_miou", mean over images of the mean IoU over the classes that
            occur in truth or prediction (official release); "<kind>_miou_total", over the pixels of
            all images; "<kind>_accuracy", of all pixels; "<kind>_boundary_f". nan without images.
        """
        found: dict[str, float] = {}
        for kind, iou in self.iou.items():
            whole = iou.compute()
            mious = torch.tensor(self._mious[kind], dtype=torch.float64)
            found |= {
                f"{kind}_miou": float(mious.nanmean()),
                f"{kind}_miou_total": float(whole["miou"]),
                f"{kind}_accuracy": float(whole["accuracy"]),
                f"{kind}_boundary_f": float(self.boundary[kind].compute()["boundary_f"]),
            }
        return found

    def _metrics(self) -> dict[str, SegmentationIoU | BoundaryF]:
        return {f"iou_{kind}": metric for kind, metric in self.iou.items()} | {
            f"boundary_{kind}": metric for kind, metric in self.boundary.items()
        }


def class_rows(
    names: Sequence[str], scores: Mapping[str, NamingScore], kind: str
) -> list[Sequence[Any]]:
    """A table of IoU by class (row) and method (column), with the pixels that a class has."""
    ious = [score.iou[kind].compute()["iou"].tolist() for score in scores.values()]
    pixels = next(iter(scores.values())).iou[kind].table.sum(1).tolist()
    return [("class", "pixels", *scores), *zip(names, pixels, *ious, strict=True)]
