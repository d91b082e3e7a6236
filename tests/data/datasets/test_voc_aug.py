"""VOC with the labels of SBD, on trees of a few tiny images."""

import sys
from pathlib import Path

import numpy as np
import pytest
from support.tiny_data import voc_aug_tree
from support.voc import TRAIN, VAL, by_hand

from cast_exp.data.datasets import VOCAugmented
from cast_exp.errors import UserError


@pytest.fixture
def both(tmp_path: Path) -> Path:
    return voc_aug_tree(tmp_path)


def test_train_plus(both: Path) -> None:
    data = VOCAugmented("train", both)
    names = [Path(data.path(i)).stem for i in range(len(data))]
    assert names == [*TRAIN, "2009_01", "2009_02"], "VOC's, then SBD's of neither split"
    voc = by_hand(both / f"VOCdevkit/VOC2012/SegmentationClass/{TRAIN[0]}.png")
    assert np.array_equal(data[0]["semantic"], voc), "VOC's labels where there are both"
    assert set(np.unique(data[3]["semantic"])) == {0, 20}
    assert data[3]["semantic"].shape == data[3]["image"].size[::-1]
    assert all("instance" not in data[i] for i in (0, 3)), "the same truth for all"
    val = VOCAugmented("val", both)
    assert [Path(val.path(i)).stem for i in range(2)] == VAL
    assert "instance" in val[0]


def test_what_can_go_wrong_with_sbd(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = both / "benchmark_RELEASE/dataset/cls/2009_01.mat"
    good = bad.read_bytes()
    bad.write_text("no MATLAB")
    with pytest.raises(UserError, match=r"2009_01\.mat is not a file of SBD or is damaged"):
        VOCAugmented("train", both)
    bad.write_bytes(good)
    image = both / "VOCdevkit/VOC2012/JPEGImages/2009_01.jpg"
    image.rename(both / "2009_01.jpg")
    with pytest.raises(UserError, match="1 of 2 listed images have no image"):
        VOCAugmented("train", both)
    with monkeypatch.context() as patch:
        (both / "benchmark_RELEASE/dataset/SegmentationClass/2009_01.png").unlink()
        patch.setitem(sys.modules, "scipy", None)
        with pytest.raises(
            UserError, match=r"needs scipy; install it: pip install 'cast-exp\[eval\]'"
        ):
            VOCAugmented("train", both)
    for file in bad.parent.iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"no \*\.mat in"):
        VOCAugmented("train", both)
    bad.parent.rmdir()
    (both / "benchmark_RELEASE").rename(both / "SBD")
    with pytest.raises(UserError, match="no benchmark_RELEASE in"):
        VOCAugmented("train", both)
