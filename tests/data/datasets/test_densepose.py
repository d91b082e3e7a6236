"""DensePose: parts of people, painted where they are."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.tiny_data import (
    densepose_tree,
    person,
    rectangle,
    write_json,
)

from cast_exp.data.datasets import DensePose, UnreadableImage
from cast_exp.errors import UserError

pytest.importorskip("pycocotools.mask")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


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
