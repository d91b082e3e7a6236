from pathlib import Path

import pytest

from cast_exp.data.datasets import ImageNet100, imagenet100_classes
from cast_exp.errors import UserError


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """A folder with the hundred classes and two more."""
    for split in ("train", "val"):
        for wnid in imagenet100_classes() | {"n00000001", "n99999999"}:
            (tmp_path / split / wnid).mkdir(parents=True)
            (tmp_path / split / wnid / "1.JPEG").touch()
    return tmp_path


def test_the_list_has_a_hundred_ids() -> None:
    assert len(imagenet100_classes()) == 100
    assert {"n02869837", "n01749939", "n02488291"} <= imagenet100_classes()


def test_only_the_hundred_are_read_and_numbered_in_sorted_order(imagenet: Path) -> None:
    for split in ("train", "val"):
        data = ImageNet100(split, imagenet)
        assert data.classes == sorted(imagenet100_classes())
        assert len(data) == 100
        assert [Path(data.path(i)).parent.name for i in range(100)] == data.classes
        assert data.present_classes() == set(range(100))


def test_validation_images_may_be_drawn_from_the_training_folder(imagenet: Path) -> None:
    train, val = (ImageNet100(s, imagenet, val=None, held_out=0.2) for s in ("train", "val"))
    assert len(train) + len(val) == 100
    assert 5 < len(val) < 40
    assert train.classes == val.classes == sorted(imagenet100_classes())


def test_missing_classes_are_listed(imagenet: Path) -> None:
    (imagenet / "train/n02869837/1.JPEG").unlink()
    (imagenet / "train/n02869837").rmdir()
    with pytest.raises(UserError, match=r"train lacks 1 of the 100 classes.*n02869837"):
        ImageNet100("train", imagenet)
