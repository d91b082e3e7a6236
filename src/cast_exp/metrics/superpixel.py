"""How well superpixels keep to the borders that people draw."""

from collections.abc import Sequence

import numpy as np
import torch

from cast_exp.metrics.boundary import dilated
from cast_exp.metrics.partition import purity
from cast_exp.ops import contingency
from cast_exp.ops.labels import Labels, contours


def boundary_recall(
    superpixels: Labels, annotations: Sequence[Labels], tolerance: float = 2.0
) -> float:
    """Share of the annotated boundary that has a superpixel boundary nearby.

    A pixel is on a boundary if its label differs from that of one of its four neighbours. Counted
    are the boundary pixels of all annotations together, so an annotation weighs as much as it has
    boundary; near is a Euclidean distance of at most ``tolerance``. More superpixels and more
    ragged ones reach more: compare at equal counts.

    Args:
        superpixels: int (H, W).
        annotations: Segmentations of the same image by different people, int (H, W) each.
        tolerance: Pixels.

    Returns:
        0..1; nan if no annotation has a boundary.
    """
    near = dilated(contours(superpixels), tolerance)
    drawn = np.stack([contours(annotation) for annotation in annotations])
    return float((drawn & near).sum() / drawn.sum()) if drawn.any() else float("nan")


def achievable_segmentation_accuracy(superpixels: Labels, annotations: Sequence[Labels]) -> float:
    """Pixel accuracy of the best segmentation that can be made of whole superpixels.

    Every superpixel takes the annotated segment that it overlaps most; the accuracy is the share of
    pixels inside the overlaps, averaged over the annotations (Liu et al., CVPR 2011).

    Args:
        superpixels: int (H, W), labels from 0.
        annotations: Segmentations of the same image by different people, int (H, W) each, labels
            from 0.

    Returns:
        0..1.
    """
    whole = torch.from_numpy(superpixels.astype(np.int64))
    accuracies = []
    for annotation in annotations:
        shape = int(superpixels.max()) + 1, int(annotation.max()) + 1
        drawn = torch.from_numpy(annotation.astype(np.int64))
        accuracies.append(float(purity(contingency(whole, drawn, shape))))
    return float(np.mean(accuracies))
