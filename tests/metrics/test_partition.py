"""Figures of tables against loops over pixels and pairs of pixels."""

from itertools import combinations

import numpy as np
import pytest
import torch

from cast_exp.metrics.partition import covering, purity, rand_index, variation_of_information
from cast_exp.ops import contingency


def maps(seed, segments, regions, pixels=60, void=0.2):
    """Segments (one of them empty), and regions with void; not independent."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, segments, pixels)
    a[a == 1] = 0
    b = np.where(rng.random(pixels) < 0.5, a % regions, rng.integers(0, regions, pixels))
    b[rng.random(pixels) < void] = -1
    return a, b


def table(a, b):
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    return contingency(a, b, (int(a.max()) + 1, int(b.max()) + 1)), a.bincount()


CASES = [
    (seed, segments, regions) for seed in range(3) for segments in (1, 3, 9) for regions in (1, 4)
]


@pytest.mark.parametrize(("seed", "segments", "regions"), CASES)
def test_covering(seed, segments, regions):
    a, b = maps(seed, segments, regions)
    expected = {"iou": 0.0, "f1": 0.0}
    for region in set(b) - {-1}:
        inside = {i for i, label in enumerate(b) if label == region}
        best = {"iou": 0.0, "f1": 0.0}
        for segment in set(a):
            here = {i for i, label in enumerate(a) if label == segment}
            best["iou"] = max(best["iou"], len(here & inside) / len(here | inside))
            best["f1"] = max(best["f1"], 2 * len(here & inside) / (len(here) + len(inside)))
        for overlap, value in best.items():
            expected[overlap] += len(inside) * value / (b >= 0).sum()
    for overlap, value in expected.items():
        assert covering(*table(a, b), overlap).item() == pytest.approx(value)


@pytest.mark.parametrize(("seed", "segments", "regions"), CASES)
def test_rand_index_is_over_pairs(seed, segments, regions):
    a, b = maps(seed, segments, regions)
    valid = np.flatnonzero(b >= 0)
    agree = [(a[i] == a[j]) == (b[i] == b[j]) for i, j in combinations(valid, 2)]
    assert rand_index(table(a, b)[0]).item() == pytest.approx(np.mean(agree))


@pytest.mark.parametrize(("seed", "segments", "regions"), CASES)
def test_variation_of_information_is_of_two_conditional_entropies(seed, segments, regions):
    a, b = maps(seed, segments, regions)
    a, b = a[b >= 0], b[b >= 0]

    def left(x, given):
        bits = 0.0
        for pixel in range(len(x)):
            same = x[given == given[pixel]]
            bits -= np.log2((same == x[pixel]).mean()) / len(x)
        return bits

    expected = left(a, b) + left(b, a)
    assert variation_of_information(table(a, b)[0]).item() == pytest.approx(expected, abs=1e-12)


def test_variation_of_information_is_in_the_unit_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    a, b = maps(0, 9, 4, 500, void=0)
    expected = sum(metrics.variation_of_information(b, a))
    assert variation_of_information(table(a, b)[0]).item() == pytest.approx(expected)


@pytest.mark.parametrize(("seed", "segments", "regions"), CASES)
def test_purity_is_the_share_of_majorities(seed, segments, regions):
    a, b = maps(seed, segments, regions)
    right = 0
    for segment in set(a):
        inside = b[(a == segment) & (b >= 0)].tolist()
        right += max((inside.count(c) for c in inside), default=0)
    assert purity(table(a, b)[0]).item() == pytest.approx(right / (b >= 0).sum())


def test_by_hand():
    quarters, halves = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), torch.tensor([0] * 4 + [1] * 4)
    counts, sizes = contingency(quarters, halves, (4, 2)), quarters.bincount()
    assert covering(counts, sizes) == 0.5
    assert covering(counts, sizes, "f1") == pytest.approx(2 / 3)
    assert rand_index(counts) == pytest.approx(1 - 8 / 28)  # two pairs of pairs in each half
    assert variation_of_information(counts) == pytest.approx(1)
    assert purity(counts) == 1
    assert purity(counts.T) == 0.5
    same = contingency(halves, halves, (2, 2))
    assert covering(same, halves.bincount()) == rand_index(same) == 1
    assert variation_of_information(same) == 0


def test_a_segment_that_reaches_beyond_all_regions_covers_worse():
    segments, regions = torch.zeros(8, dtype=torch.int64), torch.tensor([0, 0, *[-1] * 6])
    counts = contingency(segments, regions, (1, 1))
    assert covering(counts, segments.bincount()) == 2 / 8
    assert covering(counts, segments.bincount(), "f1") == pytest.approx(4 / 10)


def test_counts_of_large_images_are_exact():
    side = 6000**2 // 4
    counts = torch.tensor([[side, 0], [side, 0], [0, 2 * side - 1], [0, 1]])
    apart = side * side + (2 * side - 1)
    pairs = 4 * side * (4 * side - 1) // 2
    assert rand_index(counts).item() == pytest.approx(1 - apart / pairs, abs=1e-15)
