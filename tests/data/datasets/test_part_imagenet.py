"""PartImageNet: objects and their parts, in the order they are painted."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.tiny_data import (
    CATEGORIES,
    part_imagenet_tree,
    plain,
    write_json,
)

from cast_exp.data.datasets import PartImageNet, UnreadableImage
from cast_exp.errors import UserError

pytest.importorskip("pycocotools.mask")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


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
