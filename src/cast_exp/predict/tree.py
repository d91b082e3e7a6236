"""The segments of one picture at all levels, as a tree with facts about each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cast_exp.viz import nested_colours

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class SegmentTree:
    """Segments of all levels, each part of one of the next coarser level.

    A segment is known by its id, the same in label maps, in JSON and on the page. Ids count from 0
    over all levels, coarsest first, larger segments before smaller ones of their level.

    Attributes:
        ids: Id of each superpixel's segment, int (N,), for each level from fine (the superpixels
            themselves) to coarse.
        level: Level of each segment, int (S,); 0 for superpixels.
        parent: Id of the segment that each is a part of, int (S,); -1 at the coarsest level.
        area: Pixels of each, int (S,).
        box: Left, top, width and height in pixels, int (S, 4).
        centroid: Mean x and y of its pixels, float (S, 2); 0 is the centre of the first pixel.
        colour: Mean RGB in 0..255, float (S, 3).
    """

    ids: tuple[Integers, ...]
    level: Integers
    parent: Integers
    area: Integers
    box: Integers
    centroid: NDArray[np.float64]
    colour: NDArray[np.float64]

    @property
    def levels(self) -> int:
        """Number of levels, superpixels included."""
        return len(self.ids)

    @cached_property
    def children(self) -> list[list[int]]:
        """Ids of the parts of each segment, largest first."""
        parts: list[list[int]] = [[] for _ in self.parent]
        for segment, parent in enumerate(self.parent.tolist()):
            if parent >= 0:
                parts[parent].append(segment)
        return parts

    def span(self, level: int) -> slice:
        """Ids of the segments of a level."""
        return slice(int((self.level > level).sum()), int((self.level >= level).sum()))

    def count(self, level: int) -> int:
        """Number of segments of a level."""
        return int((self.level == level).sum())

    def colours(self, seed: int = 0) -> NDArray[np.uint8]:
        """Colour of each segment to paint it with, uint8 (S, 3); see `nested_colours`."""
        finer = range(self.levels - 1)
        parents = [self.parent[self.span(level)] - self.span(level + 1).start for level in finer]
        sizes = [self.area[self.span(level)] for level in finer]
        levels = nested_colours(parents, sizes, self.count(self.levels - 1), seed)
        return np.concatenate(levels[::-1])

    def records(self) -> list[dict[str, Any]]:
        """Every segment as plain values, in the order of their ids."""
        mean = np.round(self.colour).astype(int).tolist()
        return [
            {
                "id": segment,
                "level": int(self.level[segment]),
                "parent": int(parent) if parent >= 0 else None,
                "children": self.children[segment],
                "area": int(self.area[segment]),
                "box": self.box[segment].tolist(),
                "centroid": [round(value, 1) for value in self.centroid[segment].tolist()],
                "colour": mean[segment],
                "hex": "#{:02x}{:02x}{:02x}".format(*mean[segment]),
            }
            for segment, parent in enumerate(self.parent)
        ]


def segment_tree(
    pixels: NDArray[np.uint8], superpixels: Integers, levels: Sequence[Integers]
) -> SegmentTree:
    """Measure the segments of all levels.

    Everything is measured once for each superpixel and then added up.

    Args:
        pixels: The picture, uint8 (H, W, 3).
        superpixels: Its superpixels 0..N-1, int (H, W); each has a pixel.
        levels: Segment of each superpixel at each level above the superpixels, fine to coarse, int
            (N,) each, nested; any labels.
    """
    count = int(superpixels.max()) + 1
    area, sums, low, high = _measured(pixels, superpixels, count)
    ids: list[Integers] = []
    columns = []
    first = 0
    for labels in [*reversed(levels), np.arange(count)]:
        place = _largest_first(labels, area)
        number = int(place.max()) + 1
        parent = np.full(number, -1)
        if ids:
            parent[place] = ids[-1]
        total = np.zeros((number, sums.shape[1]))
        np.add.at(total, place, sums)
        left_top = np.full((number, 2), max(superpixels.shape))
        np.minimum.at(left_top, place, low)
        right_bottom = np.zeros((number, 2), np.int64)
        np.maximum.at(right_bottom, place, high)
        pixels_each = np.bincount(place, area).astype(np.int64)
        columns.append(
            (
                np.full(number, len(levels) - len(ids)),
                parent,
                pixels_each,
                np.concatenate([left_top, right_bottom - left_top + 1], 1),
                total / pixels_each[:, None],
            )
        )
        ids.append(place + first)
        first += number
    level, parent, areas, box, means = (np.concatenate(of) for of in zip(*columns, strict=True))
    return SegmentTree(tuple(reversed(ids)), level, parent, areas, box, means[:, 3:], means[:, :3])


def _largest_first(labels: Integers, area: Integers) -> Integers:
    """Number the labels of superpixels from 0 by what area they have together, int (N,)."""
    _, compact = np.unique(labels, return_inverse=True)
    order = np.argsort(-np.bincount(compact, area), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return np.asarray(place[compact])


def _measured(
    pixels: NDArray[np.uint8], superpixels: Integers, count: int
) -> tuple[Integers, NDArray[np.float64], Integers, Integers]:
    """Area, sums of (R, G, B, x, y), and least and largest (x, y) of each superpixel."""
    height, width = superpixels.shape
    flat = superpixels.ravel()
    y, x = (place.ravel() for place in np.indices((height, width)))
    values = [*pixels.reshape(-1, 3).T, x, y]
    sums = np.stack([np.bincount(flat, value, count) for value in values], 1)
    places = torch.from_numpy(np.stack([x, y]))
    index = torch.from_numpy(flat).expand(2, -1)
    none = torch.zeros(2, count, dtype=torch.int64)
    low = none.scatter_reduce(1, index, places, "amin", include_self=False).T.numpy()
    high = none.scatter_reduce(1, index, places, "amax", include_self=False).T.numpy()
    area = np.bincount(flat, minlength=count).astype(np.int64)
    return area, sums.astype(np.float64), low, high
