from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cast_exp.data.datasets import BSDS500, UnreadableImage
from cast_exp.errors import UserError

scipy = pytest.importorskip("scipy.io")


def people(seed, shape=(12, 16), count=3):
    """Label maps from 1, as MATLAB counts."""
    random = np.random.default_rng(seed)
    return [random.integers(1, 4 + person, shape, dtype=np.uint16) for person in range(count)]


def save(path, maps):
    cells = np.empty((1, len(maps)), dtype=object)
    for place, drawn in enumerate(maps):
        cells[0, place] = {"Segmentation": drawn, "Boundaries": drawn > 1}
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.savemat(path, {"groundTruth": cells})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, names in {"train": ["8", "22"], "val": ["101"], "test": ["3", "5", "7"]}.items():
        (tmp_path / "images" / split).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (16, 12), (int(name), 0, 0)).save(
                tmp_path / "images" / split / f"{name}.jpg"
            )
            save(tmp_path / "groundTruth" / split / f"{name}.mat", people(int(name)))
        (tmp_path / "images" / split / "Thumbs.db").touch()
    return tmp_path


def test_items_have_the_regions_of_everybody(root: Path) -> None:
    train = BSDS500("train", root)
    assert [Path(train.path(i)).name for i in range(len(train))] == ["22.jpg", "8.jpg"]
    item = train[1]
    assert (item["image"].size, item["label"]) == ((16, 12), 0)
    assert abs(item["image"].getpixel((0, 0))[0] - 8) < 3
    assert [drawn.dtype for drawn in item["regions"]] == [np.int64] * 3
    for drawn, expected in zip(item["regions"], people(8), strict=True):
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
    save(root / "groundTruth/train/22.mat", people(0, (16, 12)))
    with pytest.raises(UserError, match=r"22\.mat is 12 x 16 pixels, but its image is 16 x 12"):
        train[0]
    (root / "groundTruth/train/8.mat").write_bytes(b"no")
    with pytest.raises(UserError, match=r"cannot read .*8\.mat as a ground truth"):
        train[1]
    (root / "images/train/8.jpg").write_bytes(b"")
    with pytest.raises(UnreadableImage, match="empty file"):
        train[1]
