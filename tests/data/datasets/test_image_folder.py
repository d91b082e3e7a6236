from pathlib import Path

import pytest
from support.tiny_data import noise
from torchvision import datasets

from cast_exp.data.datasets import ImageFolder, NoSuchSplit, Split
from cast_exp.errors import UserError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_same_files_and_labels_as_torchvision(folder: Path) -> None:
    touch(folder, "train/ant/notes.txt")
    for name in ("train/ant/deep/er/9.PNG", "train/bee/x.JPEG"):
        noise(folder / name)
    for split in ("train", "val"):
        ours, reference = ImageFolder(split, folder), datasets.ImageFolder(folder / split)
        assert ours.classes == reference.classes == ["ant", "bee", "cat"]
        assert len(ours) == len(reference)
        labels = [ours[index]["label"] for index in range(len(ours))]
        files = sorted(zip(map(ours.path, range(len(ours))), labels, strict=True))
        assert files == sorted(reference.samples)
        assert labels == sorted(labels)
    item, expected = ImageFolder("val", folder)[4], datasets.ImageFolder(folder / "val")[4]
    assert (item["image"].tobytes(), item["label"]) == (expected[0].tobytes(), expected[1])


def test_order_of_files_is_sorted_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, *(f"train/a/{n}.jpg" for n in ("b", "a", "é", ".x")), "train/.git/z.jpg")
    data = ImageFolder("train", tmp_path)
    assert [Path(data.path(i)).name for i in range(len(data))] == ["a.jpg", "b.jpg", "é.jpg"]
    assert data.classes == ["a"]


def test_labels_of_both_splits_agree_when_classes_differ(tmp_path: Path) -> None:
    for name in ("train/a", "train/c", "val/b", "val/c"):
        noise(tmp_path / name / "1.jpg")
    train, val = ImageFolder("train", tmp_path), ImageFolder("val", tmp_path)
    assert train.classes == val.classes == ["a", "b", "c"]
    assert [item["label"] for item in (train[0], train[1])] == [0, 2]
    assert [item["label"] for item in (val[0], val[1])] == [1, 2]
    assert val.path(0) == str(tmp_path / "val/b/1.jpg")


def test_unlabelled_images_at_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "a/2.jpg", "a/b/3.webp", "a/b/readme.md")
    options = {"train": ".", "val": None, "labelled": False, "held_out": 0}
    data = ImageFolder("train", tmp_path, **options)
    assert (len(data), data.classes) == (3, ["image"])
    assert data.path(2) == str(tmp_path / "a/b/3.webp")
    assert (data.held_out, data.present_classes()) == ([], {0})
    with pytest.raises(NoSuchSplit, match="no val split"):
        ImageFolder("val", tmp_path, **options)


def files(data: ImageFolder) -> set[str]:
    return {data.path(index) for index in range(len(data))}


@pytest.mark.parametrize("labelled", [True, False])
def test_validation_images_are_drawn_from_the_training_folder(
    labelled: bool, tmp_path: Path
) -> None:
    def split(name: Split) -> ImageFolder:
        return ImageFolder(name, tmp_path, "photos", None, labelled, held_out=0.1)

    names = [f"{'abc'[number % 3]}/deep/{number}.jpg" for number in range(200)]
    touch(tmp_path / "photos", *names[:100])
    few = files(split("val"))
    touch(tmp_path / "photos", *names[100:])
    train, val = split("train"), split("val")
    assert files(train).isdisjoint(files(val))
    assert files(train) | files(val) == {str(tmp_path / "photos" / name) for name in names}
    assert few == files(val) & {str(tmp_path / "photos" / name) for name in names[:100]}
    assert 5 < len(val) < 40
    assert train.held_out == val.held_out
    assert {str(tmp_path / "photos" / name) for name in val.held_out} == files(val)
    assert train.classes == val.classes == (["a", "b", "c"] if labelled else ["image"])


def test_a_folder_of_validation_images_leaves_nothing_to_draw(folder: Path) -> None:
    train, val = ImageFolder("train", folder), ImageFolder("val", folder)
    assert (len(train), len(val), train.held_out, val.held_out) == (24, 9, [], [])


def test_classes_that_a_split_has_an_image_of(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.jpg", "train/c/1.jpg", "val/b/1.jpg")
    assert ImageFolder("train", tmp_path).present_classes() == {0, 2}
    assert ImageFolder("val", tmp_path).present_classes() == {1}


def test_coco_layout(tmp_path: Path) -> None:
    touch(tmp_path, "train2017/1.jpg", "train2017/2.jpg", "val2017/3.jpg")
    names = {"train": "train2017", "val": "val2017", "labelled": False}
    assert len(ImageFolder("train", tmp_path, **names)) == 2
    assert len(ImageFolder("val", tmp_path, **names)) == 1


def test_faults_of_the_layout_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.root is not set.*<root>/train/<class>/\*.jpg"):
        ImageFolder("train")
    with pytest.raises(
        UserError, match=r"no folder .*nowhere/train; expected <root>/train/<class>"
    ):
        ImageFolder("train", tmp_path / "nowhere")
    touch(tmp_path, "train/a/1.jpg")
    with pytest.raises(UserError, match=r"no folder .*/val;.*data.dataset.val"):
        ImageFolder("val", tmp_path)
    (tmp_path / "train/b").mkdir()
    touch(tmp_path, "train/c/notes.txt")
    with pytest.raises(UserError, match=r"2 class folder\(s\) in .*train hold no image: b, c;"):
        ImageFolder("train", tmp_path)
    touch(tmp_path, "val/1.jpg", "val/2.jpg")
    with pytest.raises(UserError, match=r"holds 2 images but no class folders.*labelled=false"):
        ImageFolder("val", tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"no images in .*none"):
        ImageFolder("train", tmp_path, train="none", labelled=False)
