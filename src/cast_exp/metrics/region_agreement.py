"""Segmentations of several levels against the regions that people have drawn."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from cast_exp.metrics.boundary import Tolerance, dilated, rates, tolerance_in_pixels
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

    BSDS matches boundaries one to one, after thinning them. Here several pixels may have the same
    partner, which is fast for sure but kinder to fine segmentations, so boundary figures cannot be
    compared with published ones of BSDS; coverings and the others can.

    Args:
        names: Names of the levels, fine to coarse.
        tolerance: Distance between boundaries that is near enough, as a share of the image's
            diagonal; rounded up to whole pixels.
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
    purities: Tensor
    leaving: Tensor

    def __init__(self, names: Sequence[str], tolerance: Tolerance = 0.0075, **options: Any) -> None:
        super().__init__(**options)
        self.names = list(names)
        self.tolerance = tolerance
        levels = len(self.names)
        zeros = torch.zeros
        for state, start in {
            "images": zeros((), dtype=torch.int64),
            "classified": zeros((), dtype=torch.int64),
            "regions": zeros(len(_REGION_FIGURES), levels, dtype=torch.float64),
            "covering_ois": zeros((), dtype=torch.float64),
            "boundaries": zeros(4, levels, dtype=torch.int64),
            "boundaries_ois": zeros(4, dtype=torch.int64),
            "purities": zeros(levels, dtype=torch.float64),
            "leaving": zeros((), dtype=torch.float64),
        }.items():
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
        counts = region_boundary_counts(
            [level.numpy() for level in levels],
            [drawn.numpy() for drawn in people],
            tolerance_in_pixels(levels[0].shape, self.tolerance),
        )
        boundaries = torch.from_numpy(counts).to(self.boundaries)
        self.boundaries += boundaries
        self.boundaries_ois += boundaries[:, rates(boundaries)[2].argmax()]
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
        counts = torch.cat([self.boundaries, self.boundaries_ois[:, None]], 1)
        nothing = counts[0] + counts[2] == 0
        precision, recall, f = rates(counts).masked_fill(nothing, torch.nan)
        by_level = means | {
            "boundary_f": f[:-1],
            "boundary_precision": precision[:-1],
            "boundary_recall": recall[:-1],
        }
        if self.classified:
            by_level["purity"] = self.purities / self.classified
        figures = {
            f"{figure}/{name}": float(value)
            for figure, values in by_level.items()
            for name, value in zip(self.names, values, strict=True)
        }
        return figures | {
            "covering_ods": float(means["covering"].max()),
            "covering_ois": float(self.covering_ois / self.images),
            "boundary_f_ods": float(f[:-1].max()),
            "boundary_f_ois": float(f[-1]),
            "nesting": float(self.leaving / self.images),
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
