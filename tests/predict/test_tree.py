"""Facts about segments, against one segment at a time by hand."""

from itertools import pairwise

import numpy as np
import pytest

from cast_exp.predict.tree import segment_tree


def example(seed: int, counts: tuple[int, ...] = (40, 9, 3)):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(256, size=(23, 31, 3), dtype=np.uint8)
    superpixels = np.concatenate(
        [np.arange(counts[0]), rng.integers(counts[0], size=23 * 31 - counts[0])]
    )
    superpixels = rng.permutation(superpixels).reshape(23, 31)
    levels, labels = [], np.arange(counts[0])
    for fine, coarse in pairwise(counts):
        labels = rng.integers(coarse, size=fine)[labels]
        levels.append(labels)
    return pixels, superpixels, levels


@pytest.mark.parametrize(("seed", "at_a_time"), [(0, 1 << 18), (1, 100), (2, 1)])
def test_facts(seed, at_a_time, monkeypatch):
    monkeypatch.setattr("cast_exp.predict.tree._PIXELS", at_a_time)
    pixels, superpixels, levels = example(seed)
    tree = segment_tree(pixels, superpixels, levels)
    records = tree.records()
    assert [r["id"] for r in records] == list(range(len(records)))
    for level, labels in enumerate([np.arange(40), *levels]):
        drawn, ids = labels[superpixels], tree.ids[level][superpixels]
        assert len(np.unique(labels)) == tree.count(level)
        assert sorted(np.unique(ids)) == list(range(len(records)))[tree.span(level)]
        for segment in np.unique(ids):
            mask, record = ids == segment, records[segment]
            assert len(np.unique(drawn[mask])) == 1
            assert (mask == (drawn == drawn[mask][0])).all()
            rows, columns = np.nonzero(mask)
            assert record["level"] == level
            assert record["area"] == mask.sum()
            assert record["box"] == [
                columns.min(),
                rows.min(),
                np.ptp(columns) + 1,
                np.ptp(rows) + 1,
            ]
            assert record["centroid"] == pytest.approx([columns.mean(), rows.mean()], abs=0.051)
            assert record["colour"] == pytest.approx(pixels[mask].mean(0), abs=0.501)
            assert record["hex"] == "#" + bytes(record["colour"]).hex()
            if level < len(levels):
                above = np.unique(tree.ids[level + 1][superpixels][mask])
                assert [record["parent"]] == above.tolist()
                assert segment in records[above[0]]["children"]
            else:
                assert record["parent"] is None
        areas = [record["area"] for record in records[tree.span(level)]]
        assert areas == sorted(areas, reverse=True)
    for record in records:
        if record["children"]:
            assert sum(records[child]["area"] for child in record["children"]) == record["area"]


def test_a_segment_has_the_colour_of_its_largest_part():
    tree = segment_tree(*example(7))
    colours = tree.colours()
    for segment, parts in enumerate(tree.children):
        if parts:
            assert (colours[segment] == colours[parts[0]]).all()
    for level in range(tree.levels):
        assert len(np.unique(colours[tree.span(level)], axis=0)) == tree.count(level)
    assert (tree.colours() == colours).all()


def test_superpixels_alone():
    pixels, superpixels, _ = example(0)
    tree = segment_tree(pixels, superpixels, [])
    assert tree.levels == 1
    assert tree.parent.tolist() == [-1] * 40
    assert tree.colours().shape == (40, 3)


def test_one_superpixel():
    tree = segment_tree(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.int64), [np.array([5])])
    assert [r["children"] for r in tree.records()] == [[1], []]
