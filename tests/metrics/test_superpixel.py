from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from cast_exp.metrics.superpixel import achievable_segmentation_accuracy, boundary_recall

Labels = NDArray[np.int64]


def boundary(labels: Labels) -> list[tuple[int, int]]:
    found = []
    for y, x in product(*map(range, labels.shape)):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [p for p in around if 0 <= p[0] < labels.shape[0] and 0 <= p[1] < labels.shape[1]]
        if any(labels[p] != labels[y, x] for p in inside):
            found.append((y, x))
    return found


def slow_recall(superpixels: Labels, annotations: list[Labels], tolerance: float) -> float:
    found = boundary(superpixels)
    near = total = 0
    for annotation in annotations:
        for y, x in boundary(annotation):
            total += 1
            near += any(np.hypot(y - v, x - u) <= tolerance for v, u in found)
    return near / total


def slow_accuracy(superpixels: Labels, annotations: list[Labels]) -> float:
    accuracies = []
    for annotation in annotations:
        right = 0
        for label in np.unique(superpixels):
            inside = annotation[superpixels == label]
            right += max(int((inside == segment).sum()) for segment in np.unique(inside))
        accuracies.append(right / superpixels.size)
    return sum(accuracies) / len(accuracies)


def blocks(random: np.random.Generator, size: tuple[int, int], kinds: int) -> Labels:
    """Rectangles of random labels."""
    coarse = random.integers(0, kinds, (1 + size[0] // 7, 1 + size[1] // 9))
    return coarse.repeat(7, 0).repeat(9, 1)[: size[0], : size[1]]


@pytest.mark.parametrize("size", [(1, 12), (8, 10), (21, 30)])
@pytest.mark.parametrize("people", [1, 3])
def test_equal_slow_references(size: tuple[int, int], people: int) -> None:
    random = np.random.default_rng(people)
    superpixels = np.roll(blocks(random, size, 9), (2, 3), (0, 1))
    annotations = [blocks(random, size, 5) for _ in range(people)]
    annotations[0][-1, -1] = 7
    for tolerance in (0, 1, 2, 3.5):
        found = boundary_recall(superpixels, annotations, tolerance)
        assert found == pytest.approx(slow_recall(superpixels, annotations, tolerance))
    found = achievable_segmentation_accuracy(superpixels, annotations)
    assert found == pytest.approx(slow_accuracy(superpixels, annotations))


@pytest.mark.parametrize(("distance", "recall"), [(0, 1.0), (2, 1.0), (3, 0.5), (4, 0.0)])
def test_distance_of_two_straight_borders(distance: int, recall: float) -> None:
    columns = np.tile(np.arange(30), (10, 1))
    annotation, superpixels = columns > 14, columns > 14 + distance
    found = boundary_recall(superpixels.astype(np.int64), [annotation.astype(np.int64)])
    assert found == recall  # each border is two pixels wide: one of them is a pixel nearer


def test_extremes() -> None:
    one, halves = np.zeros((6, 6), np.int64), np.repeat([[0, 1]], 18, 0).reshape(6, 6)
    assert boundary_recall(one, [halves]) == 0
    assert np.isnan(boundary_recall(halves, [one]))
    assert achievable_segmentation_accuracy(halves, [one]) == 1
    assert achievable_segmentation_accuracy(one, [halves]) == 0.5
    assert achievable_segmentation_accuracy(halves.astype(np.uint8), [halves, one]) == 1
