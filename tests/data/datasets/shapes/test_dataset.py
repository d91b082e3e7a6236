from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cast_exp.data.datasets.shapes import PART_GROUPS, PARTS, SPECIES, Shapes

TRUTH = ("foreground", "semantic", "instance", "parts")
CLASSES = len(SPECIES)


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


# -- what an item is ------------------------------------------------------------------------------


def test_an_item_depends_on_seed_split_and_index_only() -> None:
    dataset = Shapes("train", size=32)
    first = dataset[5]
    dataset[6]
    assert same(first, dataset[5])
    assert same(first, Shapes("train", size=32, train=7, val=1)[5])
    others = (dataset[5 + CLASSES], Shapes("train", size=32, seed=1)[5], Shapes("val", size=32)[5])
    for other in others:
        assert other["label"] == first["label"]
        assert not np.array_equal(other["image"], first["image"])
        assert not np.array_equal(other["parts"], first["parts"])


def test_splits_share_no_image() -> None:
    images = [Shapes(split, size=16)[i] for split in ("train", "val") for i in range(100)]
    assert len({item["image"].tobytes() for item in images}) == len(images)


@pytest.mark.parametrize("size", [16, 65, 160, 300])
def test_types_and_shapes(size: int) -> None:
    item = Shapes("val", size=size)[3]
    assert isinstance(item["image"], Image.Image)
    assert item["image"].mode == "RGB"
    assert item["image"].size == (size, size)
    assert type(item["label"]) is int
    for key in TRUTH:
        assert item[key].shape == (size, size)
        assert item[key].dtype == np.uint8


def test_classes_take_turns() -> None:
    dataset = Shapes("train", train=12, size=16, classes=4)
    assert dataset.classes == [species.name for species in SPECIES[:4]]
    assert [dataset[i]["label"] for i in range(12)] == 3 * [0, 1, 2, 3]


def test_length_and_bounds() -> None:
    dataset = Shapes("val", train=5, val=3, size=16)
    assert len(dataset) == len(list(dataset)) == 3
    with pytest.raises(IndexError, match="shapes/val/3"):
        dataset[3]
    with pytest.raises(IndexError):
        dataset[-1]


@pytest.mark.parametrize("creatures", [1, 3])
def test_the_scene_is_the_same_in_every_size(creatures: int) -> None:
    for index in range(12):
        large = Shapes("train", size=256, creatures=creatures)[index]
        small = Shapes("train", size=64, creatures=creatures)[index]
        shrunk = large["image"].resize((64, 64), Image.Resampling.BOX)
        assert np.abs(np.subtract(shrunk, small["image"], dtype=float)).mean() < 4
        agree = large["instance"][2::4, 2::4] == small["instance"]
        assert agree.mean() > 0.95


# -- ground truth ---------------------------------------------------------------------------------


@pytest.mark.parametrize("creatures", [1, 2, 6, 15])
def test_ground_truths_agree(creatures: int) -> None:
    dataset = Shapes("train", size=64, creatures=creatures)
    for index in range(8):
        item = dataset[index]
        instance = item["instance"]
        for key in TRUTH:
            np.testing.assert_array_equal(item[key] > 0, instance > 0)
        assert item["foreground"].max() == 1
        assert item["parts"].max() < len(PARTS)
        assert set(np.unique(item["semantic"][instance == 1])) == {item["label"] + 1}
        for k in range(1, creatures + 1):
            assert len(np.unique(item["semantic"][instance == k])) <= 1
        assert instance.max() <= creatures
        assert len(np.unique(instance)) > 1 + creatures / 2  # most of them are seen


def test_other_creatures_are_of_any_class() -> None:
    dataset = Shapes("train", size=32, creatures=3)
    found = [np.unique(dataset[i]["semantic"][dataset[i]["instance"] > 1]) for i in range(40)]
    assert set(np.concatenate(found)) == set(range(1, CLASSES + 1))


def test_every_creature_shows_all_groups_and_every_part_is_in_one_group() -> None:
    grouped = [name for group in PART_GROUPS.values() for name in group]
    assert sorted(grouped) == sorted(PARTS[1:])
    dataset = Shapes("train", size=96)
    for index in range(2 * CLASSES):
        parts = dataset[index]["parts"]
        for group in PART_GROUPS.values():
            area = np.isin(parts, [PARTS.index(name) for name in group]).sum()
            assert area >= 15, (dataset.classes[index % CLASSES], group)


@pytest.mark.parametrize("creatures", [1, 12])
def test_the_foremost_creature_is_whole_and_as_large_as_asked_for(creatures: int) -> None:
    dataset = Shapes("train", size=192, creatures=creatures, area=(0.12, 0.18))
    areas = []
    for index in range(40):
        foremost = dataset[index]["instance"] == 1
        rows, columns = np.nonzero(foremost)
        assert max(np.ptp(rows), np.ptp(columns)) < 192 * 0.98 / creatures**0.5
        areas.append(foremost.mean() * creatures)
    assert min(areas) > 0.11
    assert max(areas) < 0.2
    assert np.ptp(areas) > 0.04


def test_the_picture_shows_the_ground_truth() -> None:
    """Creatures are light and dark on a background in between, and outlined."""
    dataset = Shapes("train", size=128)
    outlines = []
    for index in range(30):
        item = dataset[index]
        grey = np.asarray(item["image"].convert("L"), float)
        mask = item["foreground"]
        kernel = np.ones((5, 5), np.uint8)
        inside = cv2.erode(item["parts"], kernel) == cv2.dilate(item["parts"], kernel)
        assert grey[(mask > 0) & inside].std() > 3 * grey[(mask == 0) & inside].std()
        border = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        outlines.append(grey[border].mean() / grey[inside].mean())
    assert np.mean(outlines) < 0.75


# -- classes differ in shape, not in colour -------------------------------------------------------


def nearest_neighbours(
    memory: NDArray[Any], labels: NDArray[Any], queries: NDArray[Any]
) -> NDArray[Any]:
    distance = ((queries[:, None] - memory[None]) ** 2).sum(-1)
    votes = labels[np.argsort(distance, 1)[:, :10]]
    return np.array([np.bincount(row).argmax() for row in votes])


def linear_classifier(
    memory: NDArray[Any], labels: NDArray[Any], queries: NDArray[Any]
) -> NDArray[Any]:
    mean, std = memory.mean(0), memory.std(0) + 1e-6
    x = np.column_stack([(memory - mean) / std, np.ones(len(memory))])
    weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ np.eye(CLASSES)[labels])
    return (np.column_stack([(queries - mean) / std, np.ones(len(queries))]) @ weights).argmax(1)


def colour_histogram(item: dict[str, Any]) -> NDArray[Any]:
    histogram = np.histogramdd(np.asarray(item["image"]).reshape(-1, 3), 4, [(0, 256)] * 3)[0]
    return np.sqrt(histogram.ravel() / histogram.sum())


def silhouette(item: dict[str, Any]) -> NDArray[Any]:
    rows, columns = np.nonzero(item["foreground"])
    cropped = item["foreground"][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    side = max(cropped.shape)
    square = np.zeros((side, side), np.float32)
    square[: cropped.shape[0], : cropped.shape[1]] = cropped
    return cv2.resize(square, (16, 16), interpolation=cv2.INTER_AREA).ravel()


def test_shape_gives_the_class_away_and_colour_does_not() -> None:
    train, val = Shapes("train", size=64), Shapes("val", size=64)
    memory, queries = [train[i] for i in range(700)], [val[i] for i in range(300)]
    labels, wanted = (np.array([item["label"] for item in x]) for x in (memory, queries))

    def accuracy(classifier: Any, descriptor: Any) -> float:
        described = (np.stack([descriptor(item) for item in x]) for x in (memory, queries))
        x, y = described
        return float((classifier(x, labels, y) == wanted).mean())

    chance = 1 / CLASSES
    assert accuracy(nearest_neighbours, colour_histogram) < chance + 0.06
    assert accuracy(linear_classifier, colour_histogram) < chance + 0.14  # some, by their areas
    assert accuracy(nearest_neighbours, silhouette) > 0.9
    assert accuracy(linear_classifier, silhouette) > 0.9
