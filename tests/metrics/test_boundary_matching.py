"""Boundaries matched one to one: cases with known counts, and a plain augmenting matcher."""

import math

import numpy as np
import pytest
import torch

from cast_exp.metrics.boundary_matching import (
    average_precision,
    matched_boundary_counts,
    matched_pixels,
    thin_boundary,
)

pytest.importorskip("scipy.sparse.csgraph")


def mask(*rows):
    return np.array([[letter == "x" for letter in row] for row in rows])


def patches(seed, count, shape=(40, 50)):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = rng.random((count, 2)) * shape
    return ((y - centres[:, :1, None]) ** 2 + (x - centres[:, 1:, None]) ** 2).argmin(0)


def most_pairs(found, true, radius):
    """Size of the largest matching, one augmenting path after the other."""
    near = {
        one: [other for other in true if math.dist(one, other) <= radius + 1e-9] for one in found
    }
    partner: dict[tuple[int, int], tuple[int, int]] = {}

    def place(one, seen):
        for other in near[one]:
            if other not in seen:
                seen.add(other)
                if other not in partner or place(partner[other], seen):
                    partner[other] = one
                    return True
        return False

    return sum(place(one, set()) for one in near)


def points(where):
    return [tuple(place) for place in np.argwhere(where).tolist()]


@pytest.mark.parametrize("radius", [0, 1, 1.5, 2.9])
@pytest.mark.parametrize("seed", range(4))
def test_as_many_are_matched_as_by_a_plain_matcher(seed, radius):
    found, true = thin_boundary(patches(seed, 9)), thin_boundary(patches(seed + 1, 5))
    matched = matched_pixels(found, true, radius)
    assert not (matched & ~found).any()
    assert np.count_nonzero(matched) == most_pairs(points(found), points(true), radius)


def test_a_pixel_is_partner_of_one_only():
    found, true = mask("xxxx", "xxxx", "...."), mask("....", "xxxx", "....")
    assert np.count_nonzero(matched_pixels(found, true, 1)) == 4
    assert np.count_nonzero(matched_pixels(true, found, 1)) == 4
    assert points(matched_pixels(found, true, 1)) == [(1, 0), (1, 1), (1, 2), (1, 3)]
    assert not matched_pixels(found, mask("....", "....", "...."), 1).any()


def test_boundaries_are_lines_one_pixel_wide():
    morphology = pytest.importorskip("skimage.morphology")
    assert points(thin_boundary(np.array([[0, 0, 1, 1]] * 3))) == [(0, 1), (1, 1), (2, 1)]
    assert not thin_boundary(np.zeros((3, 4), np.int64)).any()
    for seed in range(8):
        labels = patches(seed, 12)
        wide = np.zeros(labels.shape, bool)
        for y, x in np.ndindex(*labels.shape):
            wide[y, x] = len(np.unique(labels[y : y + 2, x : x + 2])) > 1
        np.testing.assert_array_equal(thin_boundary(labels), morphology.thin(wide))


def test_counts_by_hand():
    halves = np.array([[0, 0, 0, 1, 1, 1]] * 4)
    moved, far = np.roll(halves, 1, 1), np.array([[0, 0, 0, 0, 0, 1]] * 4)
    moved[:, 0] = 0  # the border is one pixel further
    nothing = np.zeros_like(halves)
    counts = matched_boundary_counts([halves, nothing], [moved, far, halves], 1)
    assert counts.T.tolist() == [[4, 4, 12, 8], [0, 0, 12, 0]]
    void = far.copy()
    void[:2] = -1
    assert matched_boundary_counts([halves], [void], 1)[0] == 2  # where there is a region


@pytest.mark.parametrize(
    ("points_of", "area"),
    [
        ([(0.0, 0.5), (1.0, 0.5)], 101 * 0.005),  # the sum has 101 terms
        ([(0.2, 1.0), (0.4, 1.0)], 0.21),
        ([(0.2, 1.0), (0.4, 0.5)], 21 * 0.0075),
        ([(0.3, 0.9)], 0.0),
        ([(0.3, 0.9), (0.3, 0.9)], 0.0),
    ],
)
def test_the_area_under_known_curves(points_of, area):
    counts = [[1000, round(1000 * p), 1000, round(1000 * r)] for r, p in points_of]
    assert average_precision(torch.tensor(counts).T) == pytest.approx(area, abs=1e-9)
