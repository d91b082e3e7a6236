"""VOC, VOC with SBD and folders like it, on trees of a few tiny images."""

import hashlib
import io
import re
import shlex
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.commands import ROOT
from support.file_server import file_server
from support.voc import TRAIN, VAL, by_hand, save_map, voc_tree, write_list

from cast_exp.cli.check import composed
from cast_exp.data.datasets import VOC, VOC_CLASSES, NoSuchSplit, UnreadableImage
from cast_exp.data.datasets import VOCFolder as Folder
from cast_exp.data.datasets import voc as module
from cast_exp.data.datasets.archives import Archive
from cast_exp.errors import UserError
from cast_exp.run.build import build

CLASSES = ["background", "cat", "dog"]


def test_items_are_images_with_their_maps(tmp_path: Path) -> None:
    voc_tree(tmp_path)
    for split, names in (("train", TRAIN), ("val", VAL)):
        data = Folder(split, tmp_path, classes=CLASSES)
        assert (len(data), data.semantic_classes, data.classes) == (len(names), CLASSES, ["image"])
        for index, name in enumerate(names):
            item = data[index]
            assert data.path(index) == str(tmp_path / f"JPEGImages/{name}.jpg")
            drawn = by_hand(tmp_path / f"SegmentationClass/{name}.png")
            assert item.keys() == {"image", "label", "semantic"}
            assert item["semantic"].dtype == np.uint8
            assert np.array_equal(item["semantic"], drawn)
            assert {0, 255} <= set(np.unique(drawn)) <= {0, 1, 2, 255}
            assert item["image"].mode == "RGB"
            assert item["image"].size == drawn.shape[::-1]


def test_objects_where_all_names_have_them(tmp_path: Path) -> None:
    voc_tree(tmp_path, objects=True)
    item = Folder("val", tmp_path, classes=CLASSES)[1]
    objects = by_hand(tmp_path / f"SegmentationObject/{VAL[1]}.png")
    assert np.array_equal(item["instance"], objects)
    (tmp_path / f"SegmentationObject/{VAL[0]}.png").unlink()
    assert "instance" not in Folder("val", tmp_path, classes=CLASSES)[1]
    assert "instance" in Folder("train", tmp_path, classes=CLASSES)[0]


def test_grey_maps_other_suffixes_and_lists_with_further_columns(tmp_path: Path) -> None:
    voc_tree(tmp_path)
    path = tmp_path / f"SegmentationClass/{VAL[0]}.png"
    drawn = by_hand(path)
    Image.fromarray(drawn).save(path)
    image = tmp_path / f"JPEGImages/{VAL[0]}.jpg"
    Image.open(image).save(image.with_suffix(".png"))
    image.unlink()
    write_list(tmp_path, "val", [f"{VAL[0]} 1 -1", ""])
    data = Folder("val", tmp_path, classes=CLASSES)
    assert len(data) == 1
    assert np.array_equal(data[0]["semantic"], drawn)


def complaint(tmp_path: Path, **options: object) -> str:
    def read() -> None:
        data = Folder("val", tmp_path, classes=CLASSES, **options)
        for index in range(len(data)):
            data[index]

    with pytest.raises(UserError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_values(tmp_path: Path) -> None:
    voc_tree(tmp_path)
    path = tmp_path / f"SegmentationClass/{VAL[1]}.png"
    size, pixels = by_hand(path).shape[::-1], by_hand(path).size
    for value in (3, 254):
        save_map(path, np.array([[0, value], [1, 255]], np.uint8), size)
        assert complaint(tmp_path).startswith(
            f"{path} has the value {value} in {pixels // 4} of {pixels} pixels, "
            "but the 3 classes have 0 to 2 (void: 255)"
        )


def test_maps_that_are_none(tmp_path: Path) -> None:
    voc_tree(tmp_path)
    path = tmp_path / f"SegmentationClass/{VAL[0]}.png"
    Image.fromarray(by_hand(path)[:-1]).save(path)
    width, height = Image.open(tmp_path / f"JPEGImages/{VAL[0]}.jpg").size
    assert complaint(tmp_path).startswith(
        f"{path} is {width} x {height - 1} pixels, but its image is {width} x {height}"
    )
    Image.new("RGB", (width, height)).save(path)
    assert "mode RGB; a label map should be grey or have a palette" in complaint(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(UnreadableImage, match=f"{path}: empty file"):
        Folder("val", tmp_path, classes=CLASSES)[0]


def test_what_is_missing_is_known_at_once(tmp_path: Path) -> None:
    voc_tree(tmp_path)
    (tmp_path / f"SegmentationClass/{VAL[1]}.png").unlink()
    folder = tmp_path / "SegmentationClass"
    text = complaint(tmp_path)
    assert f"1 of 2 listed images have no label map in {folder} (*.png): {VAL[1]};" in text
    write_list(tmp_path, "val", [f"x{i}" for i in range(9)])
    assert "9 of 9 listed images have no image in" in complaint(tmp_path)
    assert "x0, x1, x2, x3, x4 and 4 more;" in complaint(tmp_path)
    write_list(tmp_path, "val", ["", " "])
    assert "val.txt is empty" in complaint(tmp_path)
    assert "no list" in complaint(tmp_path, val="test")
    assert "(there is: train, val)" in complaint(tmp_path, val="test")
    assert complaint(tmp_path, masks="Masks") == (
        f"no Masks in {tmp_path}; expected <root>/{{JPEGImages,Masks}}/* and "
        "<root>/ImageSets/Segmentation/<split>.txt: correct data.root, or "
        "data.dataset.{images,masks,lists}"
    )
    for wrong in (
        tmp_path / "nowhere",
        tmp_path / "JPEGImages",
        tmp_path / "ImageSets/Segmentation",
    ):
        assert complaint(wrong).startswith("no JPEGImages, SegmentationClass, ImageSets/Segm")
        assert complaint(wrong).endswith(f"; did you mean data.root={tmp_path}?")
    with pytest.raises(UserError, match=r"data\.root is not set"):
        Folder("val", classes=CLASSES)
    with pytest.raises(NoSuchSplit):
        Folder("val", tmp_path, classes=CLASSES, val=None, held_out=0)


def test_validation_images_are_drawn_from_the_training_list(tmp_path: Path) -> None:
    voc_tree(tmp_path, objects=True)
    names = {}
    for listed in (TRAIN, TRAIN + VAL):
        write_list(tmp_path, "train", listed)
        train, val = (
            Folder(split, tmp_path, classes=CLASSES, val=None, held_out=0.5)
            for split in ("train", "val")
        )
        names = {
            split: [Path(data.path(index)).stem for index in range(len(data))]
            for split, data in (("train", train), ("val", val))
        }
        assert sorted(names["train"] + names["val"]) == listed
        assert train.held_out == val.held_out == names["val"] != []
        for index, name in enumerate(names["val"]):
            drawn = by_hand(tmp_path / f"SegmentationClass/{name}.png")
            assert np.array_equal(val[index]["semantic"], drawn)
            assert "instance" in val[index]


# -- as docs/label_maps.md says --------------------------------------------------------------------

PAGE = (ROOT / "docs/label_maps.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^\| .+ \| `(.*data\.dataset.*)` \|$", PAGE, re.MULTILINE)
SKY, ROAD, CAR, LORRY, NONE = (70, 130, 180), (128, 64, 128), (0, 0, 142), (0, 0, 70), (0, 0, 0)
PLAIN = {0: 0, 1: 1, 2: 2, 255: 255}
USUAL = "JPEGImages/1.jpg", "SegmentationClass/1.png", "ImageSets/Segmentation/train.txt"
MEANT: list[tuple[dict[Any, int], tuple[str, ...]]] = [
    ({0: 0, 255: 1}, USUAL),
    ({0: 255, 7: 1, 23: 0, 26: 2, 27: 2, 255: 255}, USUAL),
    ({0: 255, 1: 0, 2: 1, 3: 2, 255: 255}, USUAL),
    ({0: 0, 1: 1, 2: 2, 11: 255}, USUAL),
    ({SKY: 0, ROAD: 1, CAR: 2, LORRY: 2, NONE: 255}, USUAL),
    ({SKY: 0, ROAD: 1, CAR: 2}, USUAL),
    ({SKY: 0, ROAD: 1, CAR: 2, NONE: 255}, USUAL),
    (PLAIN, (USUAL[0], "SegmentationClassAug/1.png", "ImageSets/Segmentation/train_aug.txt")),
    (PLAIN, ("images/training/1.jpg", "annotations/training/1.png")),
    (
        PLAIN,
        (
            "leftImg8bit/train/aachen/1_leftImg8bit.png",
            "gtFine/train/aachen/1_gtFine_labelTrainIds.png",
        ),
    ),
]
"""The class of each value or colour, and where image, label map and list are."""


@pytest.mark.parametrize(
    ("example", "meant"), list(zip(EXAMPLES, MEANT, strict=True)), ids=EXAMPLES
)
def test_examples_of_the_documentation(
    example: str, meant: tuple[dict[Any, int], tuple[str, ...]], tmp_path: Path
) -> None:
    classes, (image, mask, *lists) = meant
    for name in (image, mask, *lists):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    for name in lists:
        (tmp_path / name).write_text("1\n")
    (tmp_path / "label_colors.txt").write_text(
        "70 130 180\tsky\n128 64 128\troad\n0 0 142\tcar\n0 0 0\tvoid\n"
    )
    values = np.array([*classes], np.uint8)
    drawn = np.random.default_rng(0).integers(0, len(values), (9, 14))
    Image.fromarray(values[drawn]).save(tmp_path / mask)
    Image.new("RGB", (14, 9)).save(tmp_path / image)
    names = ["data=voc_folder", f"data.root={tmp_path}", "data.dataset.classes=[sky,road,car]"]
    data = build(composed([*names, "superpixel=grid", *shlex.split(example)]).data)
    item = data.raw("train")[0]
    assert item["semantic"].tolist() == [[[*classes.values()][i] for i in row] for row in drawn]


def test_the_file_of_the_documentation(tmp_path: Path) -> None:
    block = re.search(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block
    (tmp_path / "data").mkdir()
    (tmp_path / "data/voc_class_aug.yaml").write_text(block[1])
    dataset = composed(["data=voc_class_aug", "superpixel=grid"], tmp_path).data.dataset
    assert dataset.classes == [*VOC_CLASSES]
    assert (dataset.masks, dataset.train) == ("SegmentationClassAug", "train_aug")


# -- Pascal VOC ------------------------------------------------------------------------------------


def test_voc(tmp_path: Path) -> None:
    voc_tree(tmp_path / "VOCdevkit/VOC2012", objects=True)
    data = VOC("train", tmp_path)
    assert data.semantic_classes == list(VOC_CLASSES)
    assert (len(VOC_CLASSES), VOC_CLASSES[0], VOC_CLASSES[15]) == (21, "background", "person")
    assert data[0].keys() == {"image", "label", "semantic", "instance"}
    assert [len(data), len(VOC("val", tmp_path))] == [3, 2]
    with pytest.raises(UserError, match=r"no VOCdevkit in .*/other; correct .*download=true"):
        VOC("train", tmp_path / "some/where/other")
    for wrong in ("VOCdevkit", "VOCdevkit/VOC2012"):
        with pytest.raises(
            UserError, match=f"no VOCdevkit in .*; did you mean data.root={tmp_path}\\?"
        ):
            VOC("train", tmp_path / wrong)
    inside = tmp_path / "VOCdevkit/VOC2012"
    for wrong in (tmp_path, inside.parent):
        assert complaint(wrong).endswith(f"; did you mean data.root={inside}?")
    with pytest.raises(UserError, match=r"data\.root is not set"):
        VOC("train")


def packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(folder, folder.name)
    return buffer.getvalue()


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voc_tree(tmp_path / "there/VOCdevkit/VOC2012")
    content = packed(tmp_path / "there/VOCdevkit")
    with file_server() as server:
        server.files["/voc.tar"] = content
        archive = Archive(f"{server.url}/voc.tar", hashlib.md5(content).hexdigest(), "VOCdevkit")
        monkeypatch.setattr(module, "_VOC", archive)
        here = tmp_path / "here"
        for _ in range(2):
            assert len(VOC("train", here, download=True)) == 3
        assert server.ranges == [None], "fetched once"
        assert {path.name for path in here.iterdir()} - {"voc.tar.lock", "voc.tar.json"} == {
            "voc.tar",
            "VOCdevkit",
        }
        monkeypatch.setattr(module, "_VOC", Archive(archive.url, "0" * 32, "VOCdevkit"))
        with pytest.raises(UserError, match=r"voc\.tar is not the published archive"):
            VOC("train", tmp_path / "elsewhere", download=True)
        server.files["/bad.tar"] = content[:-100]
        broken = hashlib.md5(content[:-100]).hexdigest()
        archive = Archive(f"{server.url}/bad.tar", broken, "VOCdevkit")
        monkeypatch.setattr(module, "_VOC", archive)
        with pytest.raises(UserError, match=r"bad\.tar cannot be unpacked"):
            VOC("train", tmp_path / "third", download=True)
        assert not (tmp_path / "third/VOCdevkit").exists()


def test_one_of_several_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voc_tree(tmp_path / "there/VOCdevkit/VOC2012")
    content = packed(tmp_path / "there/VOCdevkit")
    unpack, unpacked = tarfile.TarFile.extractall, []

    def slowly(*arguments: object, **options: object) -> None:
        time.sleep(0.1)
        unpack(*arguments, **options)
        unpacked.append(arguments)

    monkeypatch.setattr(tarfile.TarFile, "extractall", slowly)
    with file_server() as server, ThreadPoolExecutor() as pool:
        server.files["/voc.tar"] = content
        archive = Archive(f"{server.url}/voc.tar", hashlib.md5(content).hexdigest(), "VOCdevkit")
        here = tmp_path / "here"
        found = [pool.submit(archive.folder, here, True) for _ in range(4)]
        assert {each.result() for each in found} == {here / "VOCdevkit"}
    assert len(unpacked) == 1
    assert (here / "VOCdevkit/VOC2012/JPEGImages").is_dir()
