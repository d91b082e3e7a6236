"""Which data recognition can be taught and judged on."""

from pathlib import Path

import pytest
from support.probe_run import images
from support.retrieval import scenes
from support.tiny_data import noise
from support.tiny_run import Blots

from cast_exp.data.datasets import ImageFolder, NoSuchSplit
from cast_exp.data.recognition import recognition_obstacle
from cast_exp.errors import UserError


class OneClass(Blots):
    classes = ("image",)


class NoValidation(Blots):
    def __init__(self, split: str) -> None:
        if split == "val":
            raise NoSuchSplit("there is none")
        super().__init__(split)


@pytest.mark.parametrize(
    ("dataset", "obstacle"),
    [
        (Blots, None),
        (OneClass, "the images have no classes to tell apart"),
        (NoValidation, "there are no validation images"),
    ],
)
def test_images(dataset: type[Blots], obstacle: str | None) -> None:
    assert recognition_obstacle(images(dataset=dataset)) == obstacle


def test_classes_of_pixels_are_not_of_images() -> None:
    assert "those of pixels" in recognition_obstacle(scenes())


@pytest.mark.parametrize(("validated", "shared"), [("a", True), ("c", False)])
def test_some_class_has_images_of_both_splits(tmp_path: Path, validated: str, shared: bool) -> None:
    for name in ("train/a", "train/b", f"val/{validated}"):
        noise(tmp_path / name / "1.jpg")
    found = recognition_obstacle(images(dataset=ImageFolder, root=tmp_path))
    assert found == (None if shared else "no class has both training and validation images")


def test_missing_data_are_no_obstacle_but_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        recognition_obstacle(images(dataset=ImageFolder, root=tmp_path))
