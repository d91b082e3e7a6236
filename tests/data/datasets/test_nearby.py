"""Roots that are one step off, and commands that are run as they are printed."""

import subprocess
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.tiny_data import bsds500_tree, cifar10_tree, imagenet_tree, noise, part_imagenet_tree
from support.voc import voc_tree

from cast_exp.data.datasets import BSDS500, CIFAR10, VOC, ImageFolder, PartImageNet, VOCFolder
from cast_exp.data.datasets.nearby import imagenet_command, other_root
from cast_exp.errors import UserError


def complaint(dataset: Any, root: Path, split: str = "train") -> str:
    with pytest.raises(UserError) as caught:
        dataset(split, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


FOLDER = partial(VOCFolder, classes=["background", "cat", "dog"])


@pytest.mark.parametrize(
    ("dataset", "tree", "right", "wrong"),
    [
        (ImageFolder, imagenet_tree, "imagenet", ["imagenet/train", "imagenet/val", "."]),
        (ImageFolder, imagenet_tree, "k/ILSVRC/Data/CLS-LOC", ["k", "k/ILSVRC/Data"]),
        (VOC, lambda root: voc_tree(root / "VOCdevkit/VOC2012"), "d", ["d/VOCdevkit/VOC2012", "."]),
        (FOLDER, voc_tree, "d/VOCdevkit/VOC2012", ["d", "d/VOCdevkit"]),
        (FOLDER, voc_tree, "d/it is", ["d", "d/it is/ImageSets/Segmentation"]),
        (BSDS500, bsds500_tree, "d/BSR/BSDS500/data", ["d", "d/BSR", "d/BSR/BSDS500/data/images"]),
        (PartImageNet, part_imagenet_tree, "d", [".", "d/annotations"]),
        (CIFAR10, cifar10_tree, "d", [".", "d/train"]),
    ],
)
def test_the_right_root_is_named(
    dataset: Any, tree: Any, right: str, wrong: list[str], tmp_path: Path
) -> None:
    tree(tmp_path / right)
    assert len(dataset("train", tmp_path / right))
    shown = tmp_path / right
    for each in wrong:
        text = complaint(dataset, tmp_path / each)
        expected = f"'{shown}'" if " " in right else shown
        assert text.endswith(f"; did you mean data.root={expected}?"), text


def test_a_relative_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train/a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "train")
    assert other_root(Path("."), lambda root: (root / "train").is_dir()) == (
        f"; did you mean data.root={tmp_path}?"
    )
    unlabelled = partial(ImageFolder, train=".", val=None, labelled=False)
    assert "did you mean" not in complaint(unlabelled, tmp_path / "photo"), "any folder would do"

    def refused(root: Path) -> bool:
        raise PermissionError(root)

    assert other_root(tmp_path, refused) == ""
    assert other_root(Path("nowhere/at all"), lambda root: False) == ""


def test_bsds500_with_another_name(tmp_path: Path) -> None:
    root = bsds500_tree(tmp_path / "with space")
    (root / "groundTruth").rename(root / "ground_truth")
    _, _, command = complaint(BSDS500, root).rpartition(": ")
    subprocess.run(command, shell=True, check=True)
    assert len(BSDS500("train", root)) == 2


def test_archives_of_imagenet(tmp_path: Path) -> None:
    (tmp_path / "ILSVRC2012_img_train.tar").touch()
    assert "; data=imagenet and data=imagenet100 read the" in complaint(ImageFolder, tmp_path)


def test_archives_of_classes(tmp_path: Path) -> None:
    root, train = imagenet_tree(tmp_path / "all of it"), tmp_path / "all of it/train"
    for folder in list(train.iterdir()):
        with tarfile.open(train / f"{folder.name}.tar", "w") as archive:
            for file in list(folder.iterdir()):
                archive.add(file, file.name)
                file.unlink()
        folder.rmdir()
    command = complaint(ImageFolder, root).partition("; to unpack the classes: ")[2]
    subprocess.run(["bash", "-c", command], check=True)
    assert ImageFolder("train", root).classes == ["n01440764", "n02100735"]
    assert len(ImageFolder("train", root)) == 12


def test_validation_images_of_kaggle(tmp_path: Path) -> None:
    root = imagenet_tree(tmp_path / "k/ILSVRC/Data/CLS-LOC")
    classes = {f"ILSVRC2012_val_{i:08d}": ("n02100735", "n01440764")[i % 2] for i in range(4)}
    for folder in list((root / "val").iterdir()):
        for file in list(folder.iterdir()):
            file.unlink()
        folder.rmdir()
    for name in classes:
        noise(root / "val" / f"{name}.JPEG")
    rows = "".join(f"{name},{each} 1 2 3 4 \r\n" for name, each in classes.items())
    (tmp_path / "k/LOC_val_solution.csv").write_text(f"ImageId,PredictionString\r\n{rows}")
    assert len(ImageFolder("train", root)) == 12
    text = complaint(ImageFolder, root, "val")
    assert "holds 4 images but no class folders" in text
    subprocess.run(["bash", "-c", text.partition("solution.csv: ")[2]], check=True)
    data = ImageFolder("val", root)
    found = {Path(data.path(i)).stem: Path(data.path(i)).parent.name for i in range(len(data))}
    assert found == classes
    assert imagenet_command(tmp_path) == "", "nothing that is known"
