"""The segments of one picture at all levels, as a tree with facts about each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cast_exp.ops.labels import compact
from cast_exp.viz import nested_colours

Integers = NDArray[np.int64]

_PIXELS = 1 << 18  # measured at a time


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

    def colours(self) -> NDArray[np.uint8]:
        """Colour of each segment to paint it with, uint8 (S, 3); see `nested_colours`."""
        finer = range(self.levels - 1)
        parents = [self.parent[self.span(level)] - self.span(level + 1).start for level in finer]
        sizes = [self.area[self.span(level)] for level in finer]
        levels = nested_colours(parents, sizes, self.count(self.levels - 1))
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
            (N,) each, nested; any labels from 0.
    """
    sums, low, high = _measured(pixels, superpixels)
    ids: list[Integers] = []
    columns = []
    first = 0
    for labels in [*reversed(levels), np.arange(len(sums))]:
        place = _largest_first(labels, sums[:, 0])
        count = int(place.max()) + 1
        total, left_top, right_bottom = _joined(place, count, sums, low, high)
        parent = np.full(len(total), -1)
        if ids:
            parent[place] = ids[-1]
        level = np.full(len(total), len(levels) - len(ids))
        box = np.concatenate([left_top, right_bottom - left_top + 1], 1)
        columns.append((level, parent, total[:, 0], box, total[:, 1:] / total[:, :1]))
        ids.append(place + first)
        first += len(total)
    level, parent, areas, box, means = (np.concatenate(of) for of in zip(*columns, strict=True))
    return SegmentTree(tuple(reversed(ids)), level, parent, areas, box, means[:, 3:], means[:, :3])


def _largest_first(labels: Integers, area: Integers) -> Integers:
    """Number the labels of superpixels from 0 by what area they have together, int (N,)."""
    numbers = compact(labels)
    order = np.argsort(-np.bincount(numbers, area), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return np.asarray(place[numbers])


def _measured(
    pixels: NDArray[np.uint8], superpixels: Integers
) -> tuple[Integers, Integers, Integers]:
    """What `_joined` gives of the pixels of each superpixel, from a few rows at a time."""
    count, (height, width) = int(superpixels.max()) + 1, superpixels.shape
    total, low, high = _nothing(count)
    rows = max(_PIXELS // width, 1)
    for top in range(0, height, rows):
        owner = superpixels[top : top + rows]
        y, x = np.indices(owner.shape)
        places = np.stack([x, y + top], -1).reshape(-1, 2)
        colours = pixels[top : top + rows].reshape(-1, 3)
        sums = np.concatenate([np.ones_like(places[:, :1]), colours, places], 1)
        more, least, most = _joined(owner.ravel(), count, sums, places, places)
        total += more
        low, high = np.minimum(low, least), np.maximum(high, most)
    return total, low, high


def _joined(
    owner: Integers, count: int, sums: Integers, low: Integers, high: Integers
) -> tuple[Integers, Integers, Integers]:
    """Sums of (area, R, G, B, x, y), least and largest (x, y) of the rows of owners 0..count-1."""
    index = torch.from_numpy(owner)
    pairs = index[:, None].expand(-1, 2)
    total, least, most = map(torch.from_numpy, _nothing(count))
    total.index_add_(0, index, torch.from_numpy(sums))
    least.scatter_reduce_(0, pairs, torch.from_numpy(low), "amin")
    most.scatter_reduce_(0, pairs, torch.from_numpy(high), "amax")
    return total.numpy(), least.numpy(), most.numpy()


def _nothing(count: int) -> tuple[Integers, Integers, Integers]:
    """What `_joined` gives of owners without rows."""
    beyond = np.iinfo(np.int64)
    shape = (count, 2)
    return np.zeros((count, 6), np.int64), np.full(shape, beyond.max), np.full(shape, beyond.min)
