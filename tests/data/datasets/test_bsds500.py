from pathlib import Path

import numpy as np
import pytest
from support.tiny_data import bsds500_tree, regions, save_regions

from cast_exp.data.datasets import BSDS500, UnreadableImage
from cast_exp.errors import UserError

pytest.importorskip("scipy.io")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return bsds500_tree(tmp_path)


def test_items_have_the_regions_of_everybody(root: Path) -> None:
    train = BSDS500("train", root)
    assert [Path(train.path(i)).name for i in range(len(train))] == ["22.jpg", "8.jpg"]
    item = train[1]
    assert (item["image"].size, item["label"]) == ((16, 12), 0)
    assert abs(item["image"].getpixel((0, 0))[0] - 8) < 3
    assert [drawn.dtype for drawn in item["regions"]] == [np.int64] * 3
    for drawn, expected in zip(item["regions"], regions(8), strict=True):
        np.testing.assert_array_equal(drawn, expected)
    assert (len(BSDS500("val", root)), len(BSDS500("val", root, val="test"))) == (1, 3)
    assert train.semantic_classes == []


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root is not set"):
        BSDS500("train")
    with pytest.raises(UserError, match=r"no images in .*nowhere.*expected <root>/images"):
        BSDS500("train", root / "nowhere")
    (root / "groundTruth/train/22.mat").unlink()
    with pytest.raises(UserError, match=r"1 of 2 images have no ground truth in .*train: 22; "):
        BSDS500("train", root)


def test_what_cannot_be_read_is_named(root: Path) -> None:
    train = BSDS500("train", root)
    save_regions(root / "groundTruth/train/22.mat", regions(0, (16, 12)))
    with pytest.raises(UserError, match=r"22\.mat is 12 x 16 pixels, but its image is 16 x 12"):
        train[0]
    (root / "groundTruth/train/8.mat").write_bytes(b"no")
    with pytest.raises(UserError, match=r"cannot read .*8\.mat as a ground truth"):
        train[1]
    (root / "images/train/8.jpg").write_bytes(b"")
    with pytest.raises(UnreadableImage, match="empty file"):
        train[1]
