"""Segmentations of several levels against the regions that people have drawn."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from cast_exp.metrics.boundary import Tolerance, dilated, rates, tolerance_in_pixels
from cast_exp.metrics.boundary_matching import average_precision, matched_boundary_counts
from cast_exp.metrics.partition import covering, purity, rand_index, variation_of_information
from cast_exp.ops import contingency
from cast_exp.ops.labels import VOID, LabelMap, contours

_REGION_FIGURES = ("covering", "covering_f1", "pri", "vi")


class HierarchyMetrics(Metric):
    """How well the levels of a hierarchy agree with regions and with classes.

    Figures of an image are averaged over its annotators, then over images; a figure of level NAME
    is called "<figure>/NAME":

    - "covering", "covering_f1": of regions by segments (see `covering`), by IoU and by F1;
      "covering_ods", "covering_ois": the former at the best level for the data set, and at the best
      level for each image;
    - "pri", "vi": probabilistic Rand index (`rand_index`) and variation of information in bits (the
      lower the better), over the pixels that are in a region;
    - "boundary_f", "boundary_precision", "boundary_recall": a pixel of a segment's boundary is
      right if any annotator has a boundary within the tolerance; recall counts the boundary pixels
      of every annotator that have a segment's nearby. Pixels of all images are counted together;
      "boundary_f_ods", "boundary_f_ois" as above, where the best level for an image is that of its
      own largest F. A boundary are the pixels that have another label than a 4-neighbour. Only
      pixels that an annotator has put in a region count;
    - "purity": see `purity`; against classes; only if an image has some;
    - "nesting": share of pixels outside of what most of their segment is in at the next coarser
      level, averaged over the pairs of levels: 0 if the levels are nested.

    With "boundary_f" several pixels may have the same partner, which is fast but kinder to fine
    segmentations than the benchmark of BSDS500. With `one_to_one` there are, as that has them:

    - "bsds_f", "bsds_precision", "bsds_recall", "bsds_f_ods", "bsds_f_ois": thin boundaries
      matched one to one (see `matched_boundary_counts`), with the tolerance not rounded. No level
      is made up between two levels, as the benchmark does between its 99 thresholds;
    - "bsds_ap": see `average_precision`; levels are the thresholds. With a few of them the curve
      is short, so it is lower than the literature's and only to be compared at the same levels.

    Args:
        names: Names of the levels, fine to coarse.
        tolerance: Distance between boundaries that is near enough, as a share of the image's
            diagonal; rounded up to whole pixels.
        one_to_one: Match boundaries as the benchmark of BSDS500 does, too; needs SciPy.
        options: Of torchmetrics' `Metric`.

    Attributes:
        images: Images with regions, which are averaged.
    """

    full_state_update = False
    images: Tensor
    classified: Tensor
    regions: Tensor
    covering_ois: Tensor
    boundaries: Tensor
    boundaries_ois: Tensor
    matched: Tensor
    matched_ois: Tensor
    purities: Tensor
    leaving: Tensor

    def __init__(
        self,
        names: Sequence[str],
        tolerance: Tolerance = 0.0075,
        one_to_one: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.names = list(names)
        self.tolerance = tolerance
        self.one_to_one = one_to_one
        levels = len(self.names)
        zeros = torch.zeros
        states = {
            "images": zeros((), dtype=torch.int64),
            "classified": zeros((), dtype=torch.int64),
            "regions": zeros(len(_REGION_FIGURES), levels, dtype=torch.float64),
            "covering_ois": zeros((), dtype=torch.float64),
            "boundaries": zeros(4, levels, dtype=torch.int64),
            "boundaries_ois": zeros(4, dtype=torch.int64),
            "purities": zeros(levels, dtype=torch.float64),
            "leaving": zeros((), dtype=torch.float64),
        }
        if one_to_one:
            states["matched"] = zeros(4, levels, dtype=torch.int64)
            states["matched_ois"] = zeros(4, dtype=torch.int64)
        for state, start in states.items():
            self.add_state(state, start, dist_reduce_fx="sum")

    def update(
        self,
        segmentations: Sequence[LabelMap],
        regions: Sequence[LabelMap],
        semantic: LabelMap | None = None,
    ) -> None:
        """Add an image; it does not count if no annotator has put two pixels in regions.

        Args:
            segmentations: Segment of each pixel, from 0, at each level from fine to coarse, of any
                integer type (H, W) each.
            regions: Region of each pixel, from 0, by each annotator; negative for none.
            semantic: Class of each pixel, from 0; 255 for void.

        Raises:
            ValueError: There are not as many segmentations as levels.
        """
        if len(segmentations) != len(self.names):
            raise ValueError(f"{len(segmentations)} segmentations for levels {self.names}")
        levels = [_tensor(level) for level in segmentations]
        people = [drawn for drawn in map(_tensor, regions) if int((drawn >= 0).sum()) > 1]
        if not people:
            return
        self.images += 1
        figures = torch.stack([_region_figures(level, people) for level in levels], 1)
        self.regions += figures.to(self.regions)
        self.covering_ois += figures[0].max().to(self.regions)
        arrays = [level.numpy() for level in levels], [drawn.numpy() for drawn in people]
        shape = levels[0].shape
        near = region_boundary_counts(*arrays, tolerance_in_pixels(shape, self.tolerance))
        _add_boundaries(near, self.boundaries, self.boundaries_ois)
        if self.one_to_one:
            matched = matched_boundary_counts(*arrays, self.tolerance * math.hypot(*shape))
            _add_boundaries(matched, self.matched, self.matched_ois)
        leaving = [
            1 - purity(contingency(finer, coarser, (_count(finer), _count(coarser))))
            for finer, coarser in pairwise(levels)
        ]
        if leaving:
            self.leaving += torch.stack(leaving).mean().to(self.leaving)
        if semantic is not None:
            classes = _tensor(semantic)
            if bool((classes < VOID).any()):
                tables = (contingency(level, classes, (_count(level), VOID)) for level in levels)
                self.purities += torch.stack([purity(t) for t in tables]).to(self.purities)
                self.classified += 1

    def compute(self) -> dict[str, float]:
        """The figures by name, in 0..1 but for "vi"; nan without an image."""
        means = dict(zip(_REGION_FIGURES, self.regions / self.images, strict=True))
        drawn, of_all = _boundary_figures("boundary", self.boundaries, self.boundaries_ois)
        by_level = means | drawn
        if self.one_to_one:
            drawn, best = _boundary_figures("bsds", self.matched, self.matched_ois)
            by_level |= drawn
            of_all |= best | {"bsds_ap": average_precision(self.matched)}
        if self.classified:
            by_level["purity"] = self.purities / self.classified
        figures = {
            f"{figure}/{name}": float(value)
            for figure, values in by_level.items()
            for name, value in zip(self.names, values, strict=True)
        }
        of_all["nesting"] = float(self.leaving / self.images)
        return figures | {
            "covering_ods": float(means["covering"].max()),
            "covering_ois": float(self.covering_ois / self.images),
            **of_all,
        }


def region_boundary_counts(
    segmentations: Sequence[NDArray[Any]], regions: Sequence[NDArray[Any]], radius: int
) -> NDArray[np.int64]:
    """Count boundary pixels of an image, and those that have a partner; see `HierarchyMetrics`.

    Args:
        segmentations: Segment of each pixel, at each level, int (H, W).
        regions: Region of each pixel, by each annotator; negative for none.
        radius: Distance that is near enough, in pixels.

    Returns:
        Pixels of segments' boundaries, those that are right, pixels of regions' boundaries, those
        that are found, at each level, int64 (4, levels).
    """
    valid = [drawn >= 0 for drawn in regions]
    true = [contours(drawn) & inside for drawn, inside in zip(regions, valid, strict=True)]
    close = dilated(np.logical_or.reduce(true), radius)
    anywhere = np.logical_or.reduce(valid)
    counts = []
    for level in segmentations:
        found = contours(level)
        reached = dilated(found, radius)
        counted = found & anywhere
        masks = [[counted], [counted & close], true, [drawn & reached for drawn in true]]
        counts.append([sum(map(np.count_nonzero, group)) for group in masks])
    return np.array(counts, dtype=np.int64).T


def _add_boundaries(counts: NDArray[np.int64], to: Tensor, to_best: Tensor) -> None:
    """Add the counts of an image (4, levels), and those of the level that is best for it."""
    boundaries = torch.from_numpy(counts).to(to)
    to += boundaries
    to_best += boundaries[:, rates(boundaries)[2].argmax()]


def _boundary_figures(
    name: str, counts: Tensor, best: Tensor
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Figures of each level, and of the best level for the data set and for each image."""
    counts = torch.cat([counts, best[:, None]], 1)
    nothing = counts[0] + counts[2] == 0
    precision, recall, f = rates(counts).masked_fill(nothing, torch.nan)
    by_level = {
        f"{name}_f": f[:-1],
        f"{name}_precision": precision[:-1],
        f"{name}_recall": recall[:-1],
    }
    return by_level, {f"{name}_f_ods": float(f[:-1].max()), f"{name}_f_ois": float(f[-1])}


def _region_figures(level: Tensor, people: Sequence[Tensor]) -> Tensor:
    """`_REGION_FIGURES` of a segmentation, averaged over annotators, float64 (4,)."""
    sizes = level.flatten().bincount()
    tables = [contingency(level, drawn, (len(sizes), _count(drawn))) for drawn in people]
    figures = [
        (covering(t, sizes), covering(t, sizes, "f1"), rand_index(t), variation_of_information(t))
        for t in tables
    ]
    return torch.tensor(figures, dtype=torch.float64).mean(0)


def _tensor(labels: LabelMap) -> Tensor:
    return torch.as_tensor(labels).cpu().long()


def _count(labels: Tensor) -> int:
    return int(labels.max()) + 1
