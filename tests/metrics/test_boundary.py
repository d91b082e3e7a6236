"""Boundary F of classes against a matcher that looks at each pair of pixels."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from cast_exp.metrics import BoundaryF
from cast_exp.metrics.boundary import boundary_counts, disk


def blobs(seed, classes, shape):
    """A label map of a few patches of uneven shape."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = rng.random((7, 2)) * shape
    bend = rng.random((7, 1, 1)) + 0.5
    distance = bend * (y - centres[:, :1, None]) ** 2 + (x - centres[:, 1:, None]) ** 2
    return rng.integers(0, classes, 7)[distance.argmin(0)]


def boundary(labels, wanted):
    """Places of the pixels of a class that have a neighbour of none or another."""
    height, width = labels.shape
    places = []
    for y, x in product(range(height), range(width)):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        around = [(v, u) for v, u in around if 0 <= v < height and 0 <= u < width]
        if labels[y, x] == wanted and any(labels[place] != wanted for place in around):
            places.append((y, x))
    return places


def near(place, others, radius):
    return any(math.dist(place, other) <= radius for other in others)


def slow_counts(prediction, truth, classes, radius):
    table = []
    for label in range(classes):
        found, true = boundary(prediction, label), boundary(truth, label)
        counted = [place for place in found if truth[place] != 255]
        right = [place for place in counted if near(place, true, radius)]
        reached = [place for place in true if near(place, found, radius)]
        table.append([len(group) for group in (counted, right, true, reached)])
    return np.array(table).T


def slow_rates(counts):
    predicted, right, true, found = map(int, counts)
    precision = right / predicted if predicted else 1
    recall = found / true if true else 1
    return precision, recall, 2 * precision * recall / (precision + recall or 1)


def example(seed, classes=4, shape=(26, 33)):
    prediction, truth = blobs(seed, classes, shape), blobs(seed + 100, classes, shape)
    truth[:13] = np.roll(prediction, (1, -2), (0, 1))[:13]
    truth[5:8, 10:20] = 255
    return prediction, truth


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 40])
@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_the_slow_matcher(seed, radius):
    prediction, truth = example(seed)
    counts = boundary_counts(prediction, truth.astype(np.uint8), 6, radius)
    expected = slow_counts(prediction, truth, 6, radius)
    np.testing.assert_array_equal(counts, expected)
    assert expected[1].sum() > 0 or radius == 0


def test_averages_are_those_of_the_slow_matcher():
    metric, by_image, total = BoundaryF(4, tolerance=0.03), [], np.zeros((4, 4))
    for seed in range(5):
        prediction, truth = example(seed)
        metric.update(torch.from_numpy(prediction), truth)
        counts = slow_counts(prediction, truth, 4, 2)  # 0.03 of the diagonal is 1.3 pixels
        drawn = [column for column in counts.T if column[0] + column[2]]
        by_image.append(np.mean([slow_rates(column) for column in drawn], 0))
        total += counts
    figures = metric.compute()
    precision, recall, f = np.mean(by_image, 0)
    assert figures["boundary_precision"].item() == pytest.approx(precision)
    assert figures["boundary_recall"].item() == pytest.approx(recall)
    assert figures["boundary_f"].item() == pytest.approx(f)
    each = [slow_rates(column)[2] for column in total.T]
    np.testing.assert_allclose(figures["boundary_f_class"], each)
    assert figures["boundary_f_total"].item() == pytest.approx(np.mean(each))
    assert 0.1 < f < 0.9
    assert figures["boundary_f"] != figures["boundary_f_total"]


@pytest.mark.parametrize(("shift", "f"), [(0, 1.0), (3, 1.0), (4, 0.0)])
def test_two_straight_borders(shift, f):
    columns = np.tile(np.arange(40), (30, 1))
    metric = BoundaryF(2, tolerance=0.06)  # 3 pixels of a diagonal of 50
    metric.update((columns >= 20 + shift).astype(int), (columns >= 20).astype(int))
    assert metric.compute()["boundary_f"] == f


def test_borders_under_void_are_found():
    columns = np.tile(np.arange(40), (30, 1))
    truth = np.select([columns < 18, columns < 22], [0, 255], 1)
    metric = BoundaryF(2, tolerance=0.06)
    metric.update((columns >= 20).astype(int), truth)
    assert metric.counts.tolist() == [[0, 0], [0, 0], [30, 30], [30, 30]]
    assert metric.compute()["boundary_f"] == 1


def test_a_class_without_boundary_is_left_out():
    nothing = np.zeros((10, 10), int)
    halves = np.repeat([0, 1], 50).reshape(10, 10)
    metric = BoundaryF(3)
    metric.update(nothing, nothing)
    assert metric.images == 0
    assert all(figure.isnan().all() for figure in metric.compute().values())
    metric.update(halves, halves)
    assert metric.images == 1
    assert metric.compute()["boundary_f"] == 1
    assert metric.compute()["boundary_f_class"][2].isnan()
    metric.update(nothing, halves)  # missed: precision of nothing is 1
    figures = metric.compute()
    assert figures["boundary_f"] == 0.5
    assert figures["boundary_precision"] == 1
    assert figures["boundary_recall"] == 0.5


def test_ranks_add_up():
    whole, parts = BoundaryF(4), [BoundaryF(4), BoundaryF(4)]
    for seed in range(4):
        whole.update(*example(seed))
        parts[seed % 2].update(*example(seed))
    for state in ("counts", "sums", "images"):
        total = getattr(parts[0], state) + getattr(parts[1], state)
        torch.testing.assert_close(total, getattr(whole, state))


def test_a_disk_holds_what_is_within_its_radius():
    assert [int(disk(radius).sum()) for radius in range(6)] == [1, 5, 13, 29, 49, 81]
