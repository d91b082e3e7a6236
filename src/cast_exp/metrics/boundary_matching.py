"""Boundaries matched one to one, as the benchmark of BSDS500 does."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cast_exp.metrics.boundary import disk, rates
from cast_exp.ops.assignment import largest_matching
from cast_exp.ops.labels import Labels

Mask = NDArray[np.bool_]


def thin_boundary(labels: Labels) -> Mask:
    """The boundary between segments, a line one pixel wide.

    On it are the pixels that have another label than the one to the right, below, or diagonally
    below on the right, thinned until nothing changes (Guo and Hall, 1989); MATLAB's `seg2bdry` and
    `bwmorph(..., 'thin', inf)`, which the benchmark uses, give the same. So do the "Boundaries" of
    the ground truth of BSDS500, of its segmentations.

    Args:
        labels: Segment of each pixel, int (H, W).

    Returns:
        bool (H, W).
    """
    beyond = np.pad(labels, ((0, 1), (0, 1)), "edge")
    edge = (beyond[1:, :-1] != labels) | (beyond[:-1, 1:] != labels) | (beyond[1:, 1:] != labels)
    # OpenCV begins with the other half of a step, so it gets the map upside down.
    turned = np.ascontiguousarray(np.pad(edge, 1)[::-1, ::-1]).astype(np.uint8) * 255
    thin = cv2.ximgproc.thinning(turned, thinningType=cv2.ximgproc.THINNING_GUOHALL)
    return np.asarray(thin[-2:0:-1, -2:0:-1] > 0)


def matched_pixels(found: Mask, true: Mask, radius: float) -> Mask:
    """Pixels of a boundary that have a partner of their own in another one.

    As many pixels as can be are matched, and of all ways to do so one is taken for which the sum of
    distances is least. The benchmark (`correspondPixels`) minimises the sum of distances and of a
    price for each pixel without partner, a hundred times the radius: unless one more pair would
    shift a hundred others, it matches as many, hence precision and recall are the same. Distances
    matter where several annotators are counted together, as precision asks whether a pixel is
    matched with any of them.

    Args:
        found: The boundary, bool (H, W).
        true: The other one.
        radius: Largest distance of partners, in pixels.

    Returns:
        Part of `found`, bool (H, W); as many pixels of `true` have a partner.
    """
    y, x = np.nonzero(disk(radius))
    reach = int(radius)
    numbers = np.full([side + 2 * reach for side in true.shape], -1)
    inside = tuple(slice(reach, reach + side) for side in true.shape)
    numbers[inside][true] = np.arange(np.count_nonzero(true))
    places = np.argwhere(found)
    near = numbers[places[:, :1] + y, places[:, 1:] + x]
    rows, offsets = np.nonzero(near >= 0)
    distances = np.hypot(y - reach, x - reach)
    matched = largest_matching(rows, near[rows, offsets], distances[offsets])
    mask = np.zeros_like(found)
    mask[tuple(places[matched].T)] = True
    return mask


def matched_boundary_counts(
    segmentations: Sequence[Labels], regions: Sequence[Labels], radius: float
) -> NDArray[np.int64]:
    """Count the pixels of the thin boundaries of an image, and those that are matched.

    The boundary of a segmentation is matched with that of each annotator in turn; a pixel is right
    if it has a partner with any.

    Args:
        segmentations: Segment of each pixel, at each level, int (H, W).
        regions: Region of each pixel, by each annotator; negative for none.
        radius: Largest distance of partners, in pixels.

    Returns:
        Pixels of segments' boundaries, those that are right, pixels of regions' boundaries, those
        that are found, at each level, int64 (4, levels). The first two are of pixels that an
        annotator has put in a region.
    """
    true = [thin_boundary(drawn) for drawn in regions]
    anywhere = np.logical_or.reduce([drawn >= 0 for drawn in regions])
    counts = []
    for found in map(thin_boundary, segmentations):
        matched = [matched_pixels(found, one, radius) for one in true]
        right = np.logical_or.reduce(matched)
        masks = [[found & anywhere], [right & anywhere], true, matched]
        counts.append([sum(map(np.count_nonzero, group)) for group in masks])
    return np.array(counts, dtype=np.int64).T


def average_precision(counts: Tensor) -> float:
    """Area under the curve of precision over recall, as the benchmark of BSDS500 has it.

    Precision is interpolated at the recalls 0, .01, ..., 1, is 0 beyond the least and the largest
    recall there is, and is summed up times .01.

    Args:
        counts: Pixels that are predicted, predicted and right, true, true and found at each
            threshold, int64 (4, T).

    Returns:
        0..1.01; 0 if there is but one recall.
    """
    precision, recall, _ = rates(counts).where(counts[0] > 0, 0.0).numpy()
    recall, first = np.unique(recall, return_index=True)
    if len(recall) < 2:
        return 0.0
    grid = np.arange(101) / 100
    return float(np.interp(grid, recall, precision[first], left=0, right=0).sum() / 100)
