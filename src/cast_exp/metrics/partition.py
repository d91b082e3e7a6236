"""How segments agree with regions, from the table of how many pixels each pair shares."""

from typing import Literal

from torch import Tensor

Overlap = Literal["iou", "f1"]


def covering(table: Tensor, sizes: Tensor, overlap: Overlap = "iou") -> Tensor:
    """How well the best segment for each region covers it, averaged over pixels of regions.

    Each region takes the segment with the largest overlap with it; a region counts by its area
    (Arbelaez et al., "Contour Detection and Hierarchical Image Segmentation", 2011, section 2.3,
    with intersection over union; the paper's appendix on hierarchical segmentation uses F1).

    Args:
        table: Pixels by segment and region, int64 (S, R), without those of no region.
        sizes: Pixels of each segment, int64 (S,), with those of no region: a segment that reaches
            beyond all regions covers worse.
        overlap: `iou`, shared / (region + segment - shared), or `f1`,
            2 shared / (region + segment).

    Returns:
        0..1, float64; nan without a region.
    """
    shared, regions = table.double(), table.sum(0).double()
    both = regions + sizes[:, None]
    overlaps = shared / (both - shared) if overlap == "iou" else 2 * shared / both
    best = overlaps.nan_to_num().amax(0)  # 0 / 0 for an empty segment and an empty region
    return (regions * best).sum() / regions.sum()


def rand_index(table: Tensor) -> Tensor:
    """Share of all pairs of different pixels on which segments and regions agree.

    They agree if both put the two pixels together, or both apart. The mean over the regions of
    several annotators is the probabilistic Rand index (Unnikrishnan et al., "Toward Objective
    Evaluation of Image Segmentation Algorithms", 2007).

    Args:
        table: Pixels by segment and region, int64 (S, R).

    Returns:
        0..1, float64; nan with fewer than two pixels.
    """
    counts = table.double()  # exact: squares of counts of pixels are far below 2 ** 53
    pixels = counts.sum()
    apart_in_one = (_squares(counts.sum(0)) + _squares(counts.sum(1))) / 2 - _squares(counts)
    return 1 - apart_in_one / (pixels * (pixels - 1) / 2)


def variation_of_information(table: Tensor) -> Tensor:
    """What segments tell of a pixel that regions do not, and the other way round, in bits.

    H(segments | regions) + H(regions | segments) (Meila, "Comparing clusterings", 2007).

    Args:
        table: Pixels by segment and region, int64 (S, R).

    Returns:
        0 (the same) upwards, float64; nan without a pixel.
    """
    shares = table.double() / table.sum()
    information = _entropy(shares.sum(0)) + _entropy(shares.sum(1))
    return (2 * _entropy(shares) - information).clamp(min=0)


def purity(table: Tensor) -> Tensor:
    """Share of pixels that belong to what most of their segment belongs to.

    Of classes, it is the pixel accuracy that segments allow; of the segments of a coarser level, it
    is 1 if each finer segment lies in one of them.

    Args:
        table: Pixels by segment and class, or by finer and coarser segment, int64 (S, C).

    Returns:
        0..1, float64; nan without a pixel.
    """
    return table.amax(1).sum().double() / table.sum()


def _squares(counts: Tensor) -> Tensor:
    return (counts**2).sum()


def _entropy(shares: Tensor) -> Tensor:
    """In bits."""
    return -(shares * shares.clamp(min=1e-300).log2()).sum()
