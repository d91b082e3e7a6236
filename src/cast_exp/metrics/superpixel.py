"""How well superpixels keep to the borders that people draw."""

from collections.abc import Sequence

import cv2
import numpy as np

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
    off_boundary = (~contours(superpixels)).astype(np.uint8)
    if off_boundary.all():  # no boundary to measure a distance from
        near = np.zeros(superpixels.shape, dtype=np.bool_)
    else:
        near = cv2.distanceTransform(off_boundary, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= tolerance
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
    accuracies = []
    for annotation in annotations:
        shape = int(superpixels.max()) + 1, int(annotation.max()) + 1
        pairs = superpixels.astype(np.int64) * shape[1] + annotation
        overlaps = np.bincount(pairs.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
        accuracies.append(overlaps.max(1).sum() / superpixels.size)
    return float(np.mean(accuracies))
