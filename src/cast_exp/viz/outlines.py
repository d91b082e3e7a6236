"""Borders of a segmentation as lines, shared by the segments that they part, and room for text."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cast_exp.ops.labels import contours

OUTSIDE = -1
"""What lies beyond the border of the image, in the place of a segment."""

_RIGHT, _DOWN, _LEFT, _UP = 1, 2, 4, 8
_OPPOSITE = {_RIGHT: _LEFT, _LEFT: _RIGHT, _DOWN: _UP, _UP: _DOWN}


@dataclass(frozen=True)
class Arc:
    """A piece of border between two segments, from one junction to the next.

    Where one segment lies within another the arc is closed: it ends where it starts.

    Attributes:
        left: Segment on the left when one walks along the points, or `OUTSIDE`.
        right: Segment on the right, or `OUTSIDE`.
        points: Corners of pixels (x, y), int32 (P, 2); pixel (x, y) has its upper left corner at
            (x, y).
    """

    left: int
    right: int
    points: NDArray[np.int32]


def border_arcs(labels: NDArray[np.int64], tolerance: float = 0.75) -> list[Arc]:
    """Trace all borders of a segmentation between pixels.

    Together the arcs are a planar map: the borders of any union of segments are made of the arcs
    that have it on one side only. That is how coarser levels share the arcs of the finest.

    Args:
        labels: Segmentation, int (H, W), labels from 0.
        tolerance: How far, in pixels, a line may stray from the border (Douglas and Peucker,
            1973); 0.75 turns stairs into slopes, 0 keeps every corner. Junctions stay.

    Returns:
        The arcs; all parts of every border, and the frame of the image, are in one of them.
    """
    return [
        Arc(left, right, _simplify(points, tolerance) if tolerance else points)
        for left, right, points in _trace(labels)
    ]


def _trace(labels: NDArray[np.int64]) -> Iterator[tuple[int, int, NDArray[np.int32]]]:
    width = labels.shape[1]
    padded = np.pad(labels, 1, constant_values=OUTSIDE)
    across = padded[:-1, 1:] != padded[1:, 1:]  # an edge from a corner to the one on its right
    down = padded[1:, :-1] != padded[1:, 1:]  # and to the one below it
    edges = (across * _RIGHT + down * _DOWN).astype(np.uint8)
    edges[:, 1:] |= (across[:, :-1] * _LEFT).astype(np.uint8)
    edges[1:] |= (down[:-1] * _UP).astype(np.uint8)
    junction = np.array([bits.bit_count() > 2 for bits in range(16)])[edges]
    columns = width + 1
    step = {_RIGHT: 1, _DOWN: columns, _LEFT: -1, _UP: -columns}
    junctions = np.flatnonzero(junction)
    others = np.flatnonzero((edges > 0) & ~junction)
    left = edges.ravel().tolist()  # edges that are still to be walked; lists are fastest to index
    stops = junction.ravel().tolist()

    def walk(start: int, direction: int) -> list[int]:
        corners, here = [start], start
        while True:
            left[here] ^= direction
            here += step[direction]
            left[here] ^= _OPPOSITE[direction]
            if stops[here] or not left[here]:
                return [*corners, here]
            if left[here] != direction:
                corners.append(here)
                direction = left[here]

    for start in [*junctions.tolist(), *others.tolist()]:  # what is left over is closed
        for direction in step:
            if left[start] & direction:
                y, x = divmod(start, columns)
                corners = np.array(walk(start, direction))
                points = np.stack([corners % columns, corners // columns], 1).astype(np.int32)
                # The four pixels around the corner, clockwise; the direction is between two.
                around = [padded[y, x + 1], padded[y + 1, x + 1], padded[y + 1, x], padded[y, x]]
                place = direction.bit_length() - 1
                yield int(around[place]), int(around[(place + 1) % 4]), points


def _simplify(points: NDArray[np.int32], tolerance: float) -> NDArray[np.int32]:
    """Leave corners out, but for both ends; a closed line is cut where it is farthest away."""
    if len(points) < 3:
        return points
    if (points[0] == points[-1]).all():
        far = int(np.square(points - points[0]).sum(1).argmax())
        halves = [_open(points[: far + 1], tolerance), _open(points[far:], tolerance)]
        return np.concatenate([halves[0], halves[1][1:]])
    return _open(points, tolerance)


def _open(points: NDArray[np.int32], tolerance: float) -> NDArray[np.int32]:
    return np.asarray(cv2.approxPolyDP(points[:, None], tolerance, False)[:, 0], dtype=np.int32)


def roomiest(labels: NDArray[np.int64]) -> dict[int, tuple[float, float, float]]:
    """The place in each segment that is farthest from its borders, to write on.

    Args:
        labels: Segmentation, int (H, W).

    Returns:
        For each label that occurs: x and y in pixels, and how far the next border is.
    """
    inner = np.pad(~contours(labels), 1).astype(np.uint8)
    room = cv2.distanceTransform(inner, cv2.DIST_L2, 3)[1:-1, 1:-1].ravel()
    flat = labels.ravel()
    most_last = np.lexsort((room, flat))
    ends = np.flatnonzero(np.diff(flat[most_last], append=flat.max() + 1))
    places = most_last[ends]
    rows, columns = np.divmod(places, labels.shape[1])
    found = np.stack([columns + 0.5, rows + 0.5, room[places]], 1).tolist()
    return {label: (x, y, r) for label, (x, y, r) in zip(flat[places].tolist(), found, strict=True)}
