"""Boundary F of semantic segmentation."""

import math
from typing import Annotated, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torchmetrics import Metric

from cast_exp.ops.labels import LabelMap, as_array, contours

Tolerance = Annotated[float, Field(ge=0, lt=1)]
"""A distance as a share of the diagonal of the image."""


class BoundaryF(Metric):
    """Precision, recall and F of the boundaries of semantic classes.

    The boundary of a class are its pixels that have a 4-neighbour of another class or of void. A
    pixel of a predicted boundary is right if one of the true boundary of the same class is within
    the tolerance, in Euclidean distance between centres; recall is the same the other way round.
    Several pixels may be matched with the same one (as in the DAVIS benchmark; that of BSDS matches
    them one to one). Where truth is void no pixel counts, but those that count elsewhere may be
    matched with a predicted boundary there: VOC hides the border itself under void.

    Of no pixels all are right: precision is 1 for a class whose boundary is not predicted, recall
    for one that has none. A class without boundary in both says nothing and is left out.

    The paper does not say how it measures boundary F, so figures cannot be compared with its own.

    Args:
        num_classes: Classes have the labels 0..num_classes-1.
        tolerance: Distance that is near enough, as a share of the image's diagonal; rounded up to
            whole pixels.
        options: Of torchmetrics' `Metric`.

    Attributes:
        counts: Boundary pixels that are predicted, predicted and right, true, true and found, by
            class, int64 (4, num_classes).
        images: Images with a boundary.
    """

    full_state_update = False
    counts: Tensor
    sums: Tensor
    images: Tensor

    def __init__(self, num_classes: int, tolerance: Tolerance = 0.0075, **options: Any) -> None:
        super().__init__(**options)
        self.num_classes = num_classes
        self.tolerance = tolerance
        counts = torch.zeros(4, num_classes, dtype=torch.int64)
        self.add_state("counts", counts, dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: LabelMap, truth: LabelMap) -> None:
        """Add an image.

        Args:
            prediction: Class of each pixel, of any integer type (H, W).
            truth: Likewise; labels outside 0..num_classes-1 are void.
        """
        radius = tolerance_in_pixels(truth.shape, self.tolerance)
        counts = boundary_counts(as_array(prediction), as_array(truth), self.num_classes, radius)
        added = torch.from_numpy(counts).to(self.counts)
        self.counts += added
        drawn = (added[0] + added[2]) > 0
        if drawn.any():
            self.sums += rates(added[:, drawn]).mean(1)
            self.images += 1

    def compute(self) -> dict[str, Tensor]:
        """Figures in 0..1, nan without a boundary.

        Returns:
            "boundary_f", "boundary_precision", "boundary_recall": averages over the classes of an
            image, then over images; "boundary_f_total": mean over classes of "boundary_f_class",
            (num_classes,), for which the pixels of all images are counted together.
        """
        precision, recall, f = self.sums / self.images
        each = rates(self.counts)[2]
        each = each.where(self.counts[0] + self.counts[2] > 0, torch.nan)
        return {
            "boundary_f": f,
            "boundary_precision": precision,
            "boundary_recall": recall,
            "boundary_f_total": each.nanmean(),
            "boundary_f_class": each,
        }


def tolerance_in_pixels(shape: tuple[int, ...], tolerance: float) -> int:
    """A share of the diagonal of an image (H, W), rounded up to whole pixels."""
    return math.ceil(tolerance * math.hypot(*shape))


def boundary_counts(
    prediction: NDArray[Any], truth: NDArray[Any], num_classes: int, radius: int
) -> NDArray[np.int64]:
    """Count the pixels of the boundaries of an image, and those that have a partner.

    Args:
        prediction: Class of each pixel, int (H, W).
        truth: Likewise; labels outside 0..num_classes-1 are void.
        num_classes: Number of classes.
        radius: Distance that is near enough, in pixels.

    Returns:
        See `BoundaryF.counts`, int64 (4, num_classes).
    """
    void = (truth < 0) | (truth >= num_classes)
    drawn, predicted = contours(truth) & ~void, contours(prediction)
    counts = np.zeros((4, num_classes), np.int64)
    for label in np.intersect1d(
        np.union1d(truth[drawn], prediction[predicted]), np.arange(num_classes)
    ):
        true = drawn & (truth == label)
        found = predicted & (prediction == label)
        right = found & ~void
        counts[:, label] = (
            np.count_nonzero(right),
            np.count_nonzero(right & dilated(true, radius)),
            np.count_nonzero(true),
            np.count_nonzero(true & dilated(found, radius)),
        )
    return counts


def disk(radius: float) -> NDArray[np.uint8]:
    """The pixels within a distance of the central one: 1 in a square map, 0 elsewhere."""
    reach = int(radius)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(y**2 + x**2 <= radius**2, dtype=np.uint8)


def dilated(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """The pixels that are within a distance, in pixels, of one of a mask (H, W)."""
    return np.asarray(cv2.dilate(mask.view(np.uint8), disk(radius)), dtype=np.bool_)


def rates(counts: Tensor) -> Tensor:
    """Precision, recall and F; of no pixels all are right.

    Args:
        counts: Pixels that are predicted, predicted and right, true, true and found, int64 (4, N).

    Returns:
        0..1, float64 (3, N).
    """
    predicted, right, true, found = counts.double()
    precision = (right / predicted).where(predicted > 0, 1.0)
    recall = (found / true).where(true > 0, 1.0)
    f = (2 * precision * recall / (precision + recall)).nan_to_num()  # 0 / 0 if both are 0
    return torch.stack([precision, recall, f])
