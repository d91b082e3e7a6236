"""ADE20K on a tree of a few images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.tiny_data import ade20k_tree

from cast_exp.data.datasets import ADE20K, ADE20K_CLASSES
from cast_exp.errors import UserError


def test_zero_is_void_and_one_the_first_class(tmp_path: Path) -> None:
    ade20k_tree(tmp_path)
    assert len(set(ADE20K_CLASSES)) == len(ADE20K_CLASSES) == 150
    assert ADE20K_CLASSES[::149] == ("wall", "flag")
    data = ADE20K("train", tmp_path)
    assert len(data) == 3
    assert data.semantic_classes == list(ADE20K_CLASSES)
    for item, number in zip(map(data.__getitem__, range(3)), (0, 1, 149), strict=True):
        assert item["semantic"].dtype == np.uint8
        assert (item["semantic"][0] == 255).all()
        assert (item["semantic"][1:] == number).all()
        assert abs(item["image"].getpixel((3, 3))[0] - number - 1) < 3
    assert len(ADE20K("val", tmp_path)) == 2


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root is not set.*ADEChallengeData2016"):
        ADE20K("train")
    folder = ade20k_tree(tmp_path / "ade20k") / "ADEChallengeData2016"
    with pytest.raises(
        UserError, match=r"no ADEChallengeData2016 .*did you mean data\.root=\S+k\?"
    ):
        ADE20K("train", tmp_path)
    path = folder / "annotations/training/ADE_train_00000002.png"
    Image.fromarray(np.full((12, 20), 151, np.uint8)).save(path)
    with pytest.raises(UserError, match=r"the value 151 in 240 of 240 pixels, but the 150 classes"):
        ADE20K("train", tmp_path / "ade20k")[1]
    path.unlink()
    with pytest.raises(UserError, match="1 of 3 listed images have no label map"):
        ADE20K("train", tmp_path / "ade20k")
