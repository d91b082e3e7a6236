"""The bundle of figures against averages of figures of pixels."""

import math
from itertools import combinations, product

import numpy as np
import pytest
import torch
from support.scenes import shape_scenes

from cast_exp.metrics import HierarchyMetrics
from cast_exp.metrics.boundary_matching import average_precision, matched_boundary_counts
from cast_exp.metrics.region_agreement import region_boundary_counts

SHAPE = (12, 15)
LEVELS = ["9", "4", "2"]


def patches(rng, count):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    centres = rng.random((count, 2)) * SHAPE
    return ((y - centres[:, :1, None]) ** 2 + (x - centres[:, 1:, None]) ** 2).argmin(0)


def example(seed, void=True):
    """Levels (not nested), regions of two people, classes."""
    rng = np.random.default_rng(seed)
    levels = [patches(rng, int(name)) for name in LEVELS]
    regions = [levels[seed % 3] // 2, patches(rng, 4)]
    semantic = patches(rng, 3)
    if void:
        regions[1][:4, :5] = -1
        regions[0][1:5, 2:9] = -1  # some pixels are in no region of anybody
        semantic[8:] = 255
    return levels, regions, semantic


def slow_region_figures(level, drawn):
    """Covering by IoU and F1, Rand index and variation of information, pixel by pixel."""
    coverings = []
    for overlap in (lambda s, r: (s & r).sum() / (s | r).sum(), dice):
        best = {
            r: max(overlap(level == s, drawn == r) for s in set(level.flat))
            for r in set(drawn.flat)
        }
        coverings.append(np.mean([best[r] for r in drawn.flat if r >= 0]))
    a, b = level[drawn >= 0], drawn[drawn >= 0]
    agree = [(a[i] == a[j]) == (b[i] == b[j]) for i, j in combinations(range(len(a)), 2)]
    bits = [
        -np.log2((one[other == value] == one[i]).mean())
        for one, other in ((a, b), (b, a))
        for i, value in enumerate(other)
    ]
    return [*coverings, np.mean(agree), sum(bits) / len(a)]


def dice(s, r):
    return 2 * (s & r).sum() / (s.sum() + r.sum())


def slow_boundary(labels):
    height, width = labels.shape
    places = set()
    for y, x in product(range(height), range(width)):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        around = [(v, u) for v, u in around if 0 <= v < height and 0 <= u < width]
        if any(labels[place] != labels[y, x] for place in around):
            places.add((y, x))
    return places


def slow_boundary_counts(level, regions, radius):
    def near(place, others):
        return any(math.dist(place, other) <= radius for other in others)

    found = slow_boundary(level)
    people = [{p for p in slow_boundary(drawn) if drawn[p] >= 0} for drawn in regions]
    counted = [p for p in found if any(drawn[p] >= 0 for drawn in regions)]
    return [
        len(counted),
        sum(any(near(p, person) for person in people) for p in counted),
        sum(map(len, people)),
        sum(near(p, found) for person in people for p in person),
    ]


def f_of(counts):
    precision, recall = counts[1] / counts[0], counts[3] / counts[2]
    return 2 * precision * recall / (precision + recall)


def slow_leaving(finer, coarser):
    stay = 0
    for segment in set(finer.flat):
        inside = coarser[finer == segment].tolist()
        stay += max(inside.count(parent) for parent in inside)
    return 1 - stay / finer.size


@pytest.mark.parametrize("radius", [0, 1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_boundary_counts_are_those_of_the_slow_matcher(seed, radius):
    levels, regions, _ = example(seed)
    expected = [slow_boundary_counts(level, regions, radius) for level in levels]
    np.testing.assert_array_equal(region_boundary_counts(levels, regions, radius).T, expected)


def test_figures_are_averages_of_those_of_pixels():
    images = [example(seed) for seed in range(7)]
    metric = HierarchyMetrics(LEVELS, tolerance=0.0)
    for levels, regions, semantic in images:
        metric.update(levels, regions, semantic.astype(np.uint8))
    found = metric.compute()

    figures = np.array(
        [
            [
                np.mean([slow_region_figures(level, drawn) for drawn in regions], 0)
                for level in levels
            ]
            for levels, regions, _ in images
        ]
    )  # image, level, figure
    expected = {}
    for place, figure in enumerate(("covering", "covering_f1", "pri", "vi")):
        for name, value in zip(LEVELS, figures[..., place].mean(0), strict=True):
            expected[f"{figure}/{name}"] = value
    expected["covering_ods"] = figures[..., 0].mean(0).max()
    expected["covering_ois"] = figures[..., 0].max(1).mean()

    counts = np.array([[slow_boundary_counts(a, r, 0) for a in s] for s, r, _ in images])
    for name, (predicted, right, true, reached) in zip(LEVELS, counts.sum(0), strict=True):
        expected[f"boundary_precision/{name}"] = right / predicted
        expected[f"boundary_recall/{name}"] = reached / true
        expected[f"boundary_f/{name}"] = f_of((predicted, right, true, reached))
    expected["boundary_f_ods"] = max(expected[f"boundary_f/{name}"] for name in LEVELS)
    expected["boundary_f_ois"] = f_of(sum(max(image, key=f_of) for image in counts))

    classes = [[slow_purity(level, c) for level in levels] for levels, _, c in images]
    for name, value in zip(LEVELS, np.mean(classes, 0), strict=True):
        expected[f"purity/{name}"] = value
    pairs = [(levels[k], levels[k + 1]) for levels, _, _ in images for k in (0, 1)]
    expected["nesting"] = np.mean([slow_leaving(*pair) for pair in pairs])

    assert found == pytest.approx(expected)
    assert found["covering_ods"] < found["covering_ois"]
    assert found["boundary_f_ods"] < found["boundary_f_ois"]


def slow_purity(level, classes):
    right = 0
    for segment in set(level.flat):
        inside = classes[(level == segment) & (classes != 255)].tolist()
        right += max((inside.count(c) for c in inside), default=0)
    return right / (classes != 255).sum()


def test_the_truth_itself_is_perfect():
    truth = example(0, void=False)[1][1]
    metric = HierarchyMetrics(["all", "none"])
    metric.update([truth, np.zeros_like(truth)], [truth, truth], truth)
    figures = metric.compute()
    for name in ("covering", "covering_f1", "pri", "boundary_f", "purity"):
        assert figures[f"{name}/all"] == pytest.approx(1), name
        assert figures[f"{name}/none"] < 1, name
    assert figures["vi/all"] == figures["nesting"] == figures["boundary_f/none"] == 0
    assert figures["covering_ods"] == figures["boundary_f_ois"] == 1


def test_drawn_scenes_of_a_nested_hierarchy():
    scene = shape_scenes(1)[0]
    halves = torch.arange(scene.count) // 2
    metric = HierarchyMetrics(["fine", "coarse"])
    levels = [scene.full_superpixels, scene.paint(halves)]
    metric.update(levels, scene.truth["regions"], scene.truth["semantic"])
    figures = metric.compute()
    assert figures["nesting"] == 0
    assert figures["purity/fine"] >= figures["purity/coarse"] > 0.5
    assert figures["boundary_recall/fine"] >= figures["boundary_recall/coarse"] > 0


def test_classes_and_a_second_level_are_optional():
    levels, regions, semantic = example(0)
    metric = HierarchyMetrics(["9"])
    metric.update(levels[:1], regions)
    metric.update(levels[:1], regions, np.full_like(semantic, 255))
    figures = metric.compute()
    assert not any(name.startswith("purity") for name in figures)
    assert figures["nesting"] == 0


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_an_image_without_regions_does_not_count():
    levels, regions, semantic = example(0)
    nothing = np.full(SHAPE, -1)
    metric = HierarchyMetrics(LEVELS)
    metric.update(levels, [nothing], semantic)
    assert metric.images == 0
    assert all(math.isnan(figure) for figure in metric.compute().values())
    metric.update(levels, regions)
    alone = metric.compute()
    metric.update(levels, [nothing, *regions, nothing])
    assert metric.compute() == pytest.approx(alone)
    with pytest.raises(ValueError, match="2 segmentations for levels"):
        metric.update(levels[:2], regions)


def test_ranks_add_up():
    whole, parts = HierarchyMetrics(LEVELS), [HierarchyMetrics(LEVELS), HierarchyMetrics(LEVELS)]
    for seed in range(4):
        whole.update(*example(seed))
        parts[seed % 2].update(*example(seed))
    parts[0].merge_state(parts[1])
    assert parts[0].images == whole.images == 4
    assert parts[0].compute() == pytest.approx(whole.compute())


def test_boundaries_are_matched_one_to_one_if_that_is_asked_for():
    pytest.importorskip("scipy.sparse.csgraph")
    whole, *parts = (HierarchyMetrics(LEVELS, 0.06, one_to_one=True) for _ in range(3))
    counts = []
    for seed in range(7):
        levels, regions, _ = example(seed)
        whole.update(levels, regions)
        parts[seed % 2].update(levels, regions)
        radius = 0.06 * math.hypot(*SHAPE)
        counts.append(matched_boundary_counts(levels, regions, radius).T)
    figures = whole.compute()
    total = np.sum(counts, 0)
    for name, (predicted, right, true, found) in zip(LEVELS, total, strict=True):
        assert figures[f"bsds_precision/{name}"] == pytest.approx(right / predicted)
        assert figures[f"bsds_recall/{name}"] == pytest.approx(found / true)
        assert figures[f"bsds_recall/{name}"] < figures[f"boundary_recall/{name}"]
    assert figures["bsds_f_ods"] == pytest.approx(max(map(f_of, total)))
    best = sum(max(image, key=f_of) for image in counts)
    assert figures["bsds_f_ods"] < figures["bsds_f_ois"] == pytest.approx(f_of(best))
    assert figures["bsds_ap"] == average_precision(torch.from_numpy(total.T))
    parts[0].merge_state(parts[1])
    assert parts[0].compute() == pytest.approx(figures)
