"""DensePose and PartImageNet: annotation files of COCO's format."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from support.tiny_data import (
    CATEGORIES,
    densepose_tree,
    part_imagenet_tree,
    person,
    plain,
    rectangle,
    run_lengths,
    write_json,
)

from cast_exp.data.datasets import DensePose, PartImageNet, UnreadableImage
from cast_exp.data.datasets.coco import decode_mask
from cast_exp.errors import UserError

pytest.importorskip("pycocotools.mask")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


# -- masks ---------------------------------------------------------------------------------------


def test_masks_of_every_form():
    mask = rectangle(8, 10, 2, 3, 6, 9)
    columns = mask.T.ravel()
    changes = np.flatnonzero(np.diff(columns.astype(int))) + 1
    lengths = np.diff([0, *changes, columns.size]).tolist()
    forms = [
        run_lengths(mask),
        {"counts": lengths, "size": [8, 10]},
        [[3, 2, 9, 2, 9, 6, 3, 6]],
        [[3, 2, 6, 2, 6, 6, 3, 6], [6, 2, 9, 2, 9, 6, 6, 6]],
    ]
    for form in forms:
        np.testing.assert_array_equal(decode_mask(form, 8, 10), mask)
    with pytest.raises(UserError, match=r"size \(8, 10\) where \(8, 11\) is wanted"):
        decode_mask(forms[0], 8, 11)
    for bad in ({"counts": "x"}, "polygon", [], None):
        with pytest.raises(UserError, match="not of COCO's format"):
            decode_mask(bad, 8, 10)


def test_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"cast-exp\[eval\]"):
        decode_mask([], 8, 10)


# -- DensePose -----------------------------------------------------------------------------------


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    return densepose_tree(tmp_path)


def test_parts_are_painted_in_the_boxes_of_people(bodies: Path) -> None:
    data = DensePose("val", bodies)
    names = ["background", "head", "torso", "upper limb", "lower limb"]
    assert data.semantic_classes == names
    assert [Path(data.path(i)).name[-6:] for i in range(len(data))] == ["04.jpg", "11.jpg"]
    expected = np.zeros((24, 20), int)
    expected[4:10, 2:10] = 1
    expected[10:16, 2:10] = 4
    expected[4:12, 6:8] = 2
    expected[4:6, 8:10] = 3  # what is no part of the second person shows the first
    item = data[0]
    np.testing.assert_array_equal(item["semantic"], expected)
    np.testing.assert_array_equal(item["regions"][0], expected - 1)
    assert (item["semantic"].dtype, item["regions"][0].dtype) == (np.uint8, np.int64)
    outside = np.zeros((24, 20), int)
    outside[10:24, :4] = 1  # centres of pixels from -3.5 to 4.5 are those of columns up to 3
    np.testing.assert_array_equal(data[1]["semantic"], outside)


def test_every_part_is_in_one_group(bodies: Path) -> None:
    file = bodies / "annotations/densepose_coco_2014_train.json"
    strips = {n: rectangle(256, 256, 0, 16 * n, 256, 16 * n + 16) for n in range(1, 15)}
    content = json.loads(file.read_text())
    content["annotations"] = [person(4, [0, 0, 16, 1], strips)]
    write_json(file, content)
    row = DensePose("train", bodies)[0]["semantic"][0, 1:15]
    assert row.tolist() == [2, 3, 3, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 1]


def test_wrong_densepose_trees_are_named(bodies: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root is not set"):
        DensePose("val")
    with pytest.raises(UserError, match=r"cannot read .*_minival\.json \(no such file"):
        DensePose("val", bodies / "annotations")
    data = DensePose("val", bodies)
    Path(data.path(0)).unlink()
    with pytest.raises(UnreadableImage, match="no such file"):
        data[0]
    (bodies / "val2014").rename(bodies / "val2017")
    with pytest.raises(UserError, match=r"no folder .*val2014 of COCO's images"):
        DensePose("val", bodies)
    file = bodies / "annotations/densepose_coco_2014_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["dp_masks"][0] = {"counts": 3}
    write_json(file, content)
    train = DensePose("train", bodies)
    with pytest.raises(UserError, match=r"body parts of .*0004\.jpg cannot be read: a mask is not"):
        train[0]
    write_json(file, content | {"annotations": []})
    with pytest.raises(UserError, match=r"no image with body parts \(dp_masks\)"):
        DensePose("train", bodies)
    for bad, message in (("{", "not JSON"), ("[]", "not an annotation file of COCO's format")):
        file.write_text(bad)
        with pytest.raises(UserError, match=message):
            DensePose("train", bodies)


# -- PartImageNet --------------------------------------------------------------------------------


@pytest.fixture
def things(tmp_path: Path) -> Path:
    return part_imagenet_tree(tmp_path)


def test_later_parts_are_painted_over_earlier_ones(things: Path) -> None:
    data = PartImageNet("val", things)
    assert data.semantic_classes == ["background", "Quadruped", "Snake"]
    assert data.part_classes == ["background", "Quadruped Head", "Quadruped Body", "Snake Head"]
    assert len(data) == 2
    assert data.path(1).endswith("images/val/n02100735/n02100735_7.JPEG")
    parts = np.zeros((10, 14), int)
    parts[2:8, 2:12] = 2
    parts[:5, 10:] = 3
    item = data[0]
    np.testing.assert_array_equal(item["parts"], parts)
    np.testing.assert_array_equal(item["semantic"], np.array([0, 1, 1, 2])[parts])
    np.testing.assert_array_equal(item["regions"][0], parts - 1)
    assert data[1]["parts"].sum() == 16


def test_wrong_part_imagenet_trees_are_named(things: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root is not set"):
        PartImageNet("val")
    with pytest.raises(UserError, match=r"cannot read .*test\.json \(no such file"):
        PartImageNet("val", things, val="test")
    data = PartImageNet("val", things)
    plain(Path(data.path(0)), (14, 11), (10, 200, 30))
    with pytest.raises(UserError, match=r"_10\.JPEG cannot be read: .*\(10, 14\) where \(11, 14\)"):
        data[0]
    Path(data.path(1)).unlink()
    with pytest.raises(UnreadableImage, match="no such file"):
        data[1]
    (things / "images/val").rename(things / "images/validation")
    with pytest.raises(UserError, match=r"no folder .*images/val of images"):
        PartImageNet("val", things)
    file = things / "annotations/train.json"
    content = json.loads(file.read_text())
    write_json(file, content | {"categories": [{"id": 1, "name": "Head"}]})
    with pytest.raises(UserError, match="categories without 'supercategory'"):
        PartImageNet("train", things)
    write_json(file, content | {"categories": CATEGORIES[:1]})
    with pytest.raises(
        UserError, match=r"_10\.JPEG .* category 1, which .*train\.json does not have"
    ):
        PartImageNet("train", things)[0]
    write_json(file, content | {"images": []})
    with pytest.raises(UserError, match="has no images"):
        PartImageNet("train", things)
