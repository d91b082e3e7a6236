"""Lines around segments against the pixels that they enclose."""

from collections import Counter
from itertools import pairwise

import cv2
import numpy as np
import pytest

from cast_exp.superpixels.grid import square_patches
from cast_exp.viz.outlines import OUTSIDE, border_arcs, roomiest


def blobs(height: int, width: int, count: int, seed: int) -> np.ndarray:
    """A random segmentation with holes, specks and pieces that touch at corners."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 2)
    labels = (noise - noise.min()) / (np.ptp(noise) + 1e-9) * (count - 1)
    speckled = np.where(rng.random((height, width)) < 0.05, rng.integers(count), labels.round())
    return speckled.astype(np.int64)


def unit_edges(labels: np.ndarray) -> Counter:
    """Every edge between pixels of two segments: its two ends and what lies left and right."""
    height, width = labels.shape
    at = np.pad(labels, 1, constant_values=OUTSIDE)
    edges: Counter = Counter()
    for y in range(height + 1):
        for x in range(width + 1):
            above, below, before = at[y, x + 1], at[y + 1, x + 1], at[y + 1, x]
            if x < width and above != below:
                edges[(x, y), (x + 1, y), int(above), int(below)] += 1
            if y < height and before != below:
                edges[(x, y), (x, y + 1), int(below), int(before)] += 1
    return edges


def walked(arcs: list) -> Counter:
    edges: Counter = Counter()
    for arc in arcs:
        points = arc.points.tolist()
        for (x0, y0), (x1, y1) in pairwise(points):
            steps = max(abs(x1 - x0), abs(y1 - y0))
            dx, dy = (x1 - x0) // steps, (y1 - y0) // steps
            for step in range(steps):
                start = (x0 + step * dx, y0 + step * dy)
                end = (start[0] + dx, start[1] + dy)
                sides = (arc.left, arc.right) if start < end else (arc.right, arc.left)
                edges[(min(start, end), max(start, end), *sides)] += 1
    return edges


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((1, 1), np.int64),
        np.zeros((3, 5), np.int64),
        np.eye(4, dtype=np.int64),
        np.arange(12).reshape(3, 4),
        np.pad(np.ones((2, 3), np.int64), 2),
        *[blobs(30, 23, 6, seed) for seed in range(5)],
    ],
)
def test_every_edge_is_walked_once_with_the_right_sides(labels):
    arcs = border_arcs(labels, tolerance=0)
    assert walked(arcs) == unit_edges(labels)
    for arc in arcs:
        assert arc.left != arc.right


def enclosed(labels: np.ndarray, segment: int, tolerance: float, zoom: int) -> np.ndarray:
    """The segment filled in by OpenCV from its lines, in an enlarged picture."""
    lines = [a for a in border_arcs(labels, tolerance) if segment in (a.left, a.right)]
    rings, ends = [], {}
    for arc in lines:
        points = arc.points if arc.left == segment else arc.points[::-1]
        ends.setdefault(tuple(points[0]), []).append(points)
    while ends:
        start = here = next(iter(ends))
        ring = []
        while here in ends:
            points = ends[here].pop()
            if not ends[here]:
                del ends[here]
            ring.append(points)
            here = tuple(points[-1])
        assert here == start  # lines of a segment close
        rings.append(np.concatenate(ring))
    canvas = np.zeros((labels.shape[0] * zoom, labels.shape[1] * zoom), np.uint8)
    cv2.fillPoly(canvas, [ring * zoom for ring in rings], 1)
    return canvas[zoom // 2 :: zoom, zoom // 2 :: zoom].astype(bool)


@pytest.mark.parametrize("tolerance", [0, 0.75])
def test_lines_enclose_their_segment(tolerance):
    labels = blobs(60, 80, 7, seed=3)
    for segment in range(7):
        same = enclosed(labels, segment, tolerance, zoom=8) == (labels == segment)
        # A straight line through stairs leaves a pixel out here and there.
        assert same.mean() == 1 if tolerance == 0 else same.mean() > 0.95


def test_simplified_lines_are_fewer_and_stay_near():
    labels = blobs(200, 200, 5, seed=0)
    exact, simple = border_arcs(labels, 0), border_arcs(labels, 0.75)
    assert [(a.left, a.right) for a in exact] == [(a.left, a.right) for a in simple]
    assert sum(len(a.points) for a in simple) < 0.7 * sum(len(a.points) for a in exact)
    for before, after in zip(exact, simple, strict=True):
        assert (before.points[[0, -1]] == after.points[[0, -1]]).all()
        for point in before.points:
            starts, ends = after.points[:-1].astype(float), after.points[1:].astype(float)
            along = ends - starts
            length = np.maximum((along**2).sum(1), 1e-9)
            share = np.clip(((point - starts) * along).sum(1) / length, 0, 1)
            nearest = np.linalg.norm(starts + share[:, None] * along - point, axis=1).min()
            assert nearest <= 0.75 + 1e-6


def test_segments_of_squares_have_four_corners():
    arcs = border_arcs(square_patches(8, 8, 4).numpy())
    assert len(arcs) == 8  # four between squares, four times a corner of the frame
    assert {len(arc.points) for arc in arcs} == {2, 3}


def test_text_has_the_most_room():
    labels = np.zeros((40, 60), np.int64)
    labels[5:25, 10:50] = 3
    x, y, room = roomiest(labels)[3]
    assert 19 <= x <= 41
    assert 14 <= y <= 16
    assert room == pytest.approx(10, abs=1.5)
    assert set(roomiest(labels)) == {0, 3}
    for label, (x, y, _) in roomiest(blobs(50, 40, 6, seed=1)).items():
        assert blobs(50, 40, 6, seed=1)[int(y), int(x)] == label
