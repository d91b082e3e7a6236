"""A few tiny images in the layouts of the data sets that `conf/data` names."""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.voc import TRAIN, VAL, draw, voc_tree

from cast_exp.data.datasets import imagenet100_classes

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
CATEGORIES = [
    {"id": 0, "name": "Quadruped Head", "supercategory": "Quadruped"},
    {"id": 1, "name": "Quadruped Body", "supercategory": "Quadruped"},
    {"id": 5, "name": "Head", "supercategory": "Snake"},
]
HEAD, TORSO, HAND, LEG = 14, 1, 2, 8
_PEOPLE = (4, 9, 11)  # ids of the images of DensePose


def noise(path: Path, size: tuple[int, int] = (40, 36), seed: int = 0) -> None:
    """Write a picture of coloured clouds."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)


def plain(path: Path, size: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Write a picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def class_tree(root: Path, classes: Iterable[str], images: int) -> Path:
    """`{train,val}/<class>/*.JPEG`."""
    for split in ("train", "val"):
        for name in classes:
            for seed in range(images):
                noise(root / split / name / f"{seed}.JPEG", seed=seed)
    return root


def imagenet_tree(root: Path) -> Path:
    """Two classes, six images each."""
    return class_tree(root, ("n01440764", "n02100735"), 6)


def imagenet100_tree(root: Path) -> Path:
    """An image of each of the hundred classes."""
    return class_tree(root, imagenet100_classes(), 1)


def coco_tree(root: Path) -> Path:
    """Images without labels."""
    for split in ("train2017", "val2017"):
        for seed in range(8):
            noise(root / split / f"{seed:012d}.jpg", seed=seed)
    return root


def cifar10_tree(root: Path) -> Path:
    """`{train,test}/<class>/*.png`, three and two of each; red is the class, green the number."""
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(CIFAR10_CLASSES):
            for i in range(count):
                plain(root / split / name / f"{i}.png", (32, 32), (label, i, 7))
    return root


def voc_aug_tree(root: Path) -> Path:
    """VOC; in SBD one image of each of its splits, with other labels, and two of neither."""
    voc = voc_tree(root / "VOCdevkit/VOC2012", objects=True)
    savemat = pytest.importorskip("scipy.io").savemat
    folder = root / "benchmark_RELEASE/dataset/cls"
    folder.mkdir(parents=True)
    for seed, name in enumerate(["2009_02", "2009_01"], 10):
        draw(voc, name, seed)
    for name in ("2009_01", "2009_02", TRAIN[0], VAL[0]):
        path = voc / f"SegmentationClass/{name}.png"
        with Image.open(path) as drawn:
            labels = (np.array(drawn) != 0) * np.uint8(20)
        if name.startswith("2009"):
            path.unlink()
        truth = {"Segmentation": labels, "CategoriesPresent": np.unique(labels)}
        savemat(folder / f"{name}.mat", {"GTcls": truth})
    return root


def ade20k_tree(root: Path) -> Path:
    """Three training images and two of validation; red is the class that all of one is of, and a
    row of each is void."""
    folder = root / "ADEChallengeData2016"
    for split, numbers in (("training", (1, 2, 150)), ("validation", (2, 5))):
        for number in numbers:
            name = f"ADE_{split[:-3]}_{number:08d}"
            plain(folder / "images" / split / f"{name}.jpg", (20, 12), (number, 0, 0))
            labels = np.full((12, 20), number, np.uint8)
            labels[0] = 0
            path = folder / "annotations" / split / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(labels).save(path)
    return root


def pascal_context_tree(root: Path) -> Path:
    """VOC 2010 with the annotations as published: the 459 classes in columns of one pixel."""
    voc = root / "VOCdevkit/VOC2010"
    savemat = pytest.importorskip("scipy.io").savemat
    (root / "trainval").mkdir(parents=True)
    (voc / "ImageSets/Main").mkdir(parents=True)
    numbers = np.tile(np.arange(460, dtype=np.uint16), (3, 1))
    for split, names in (("train", ("2008_000002", "2008_000003")), ("val", ("2008_000009",))):
        for name in names:
            plain(voc / "JPEGImages" / f"{name}.jpg", (460, 3), (9, 0, 0))
            savemat(root / "trainval" / f"{name}.mat", {"LabelMap": numbers})
        (voc / f"ImageSets/Main/{split}.txt").write_text("\n".join(names))
    return root


def regions(
    seed: int, shape: tuple[int, int] = (12, 16), count: int = 3
) -> list[NDArray[np.uint16]]:
    """Label maps by several people, from 1 as MATLAB counts."""
    random = np.random.default_rng(seed)
    return [random.integers(1, 4 + person, shape, dtype=np.uint16) for person in range(count)]


def save_regions(path: Path, maps: list[NDArray[np.uint16]]) -> None:
    """Write label maps as BSDS500 has them."""
    cells = np.empty((1, len(maps)), dtype=object)
    for place, drawn in enumerate(maps):
        cells[0, place] = {"Segmentation": drawn, "Boundaries": drawn > 1}
    path.parent.mkdir(parents=True, exist_ok=True)
    pytest.importorskip("scipy.io").savemat(path, {"groundTruth": cells})


def bsds500_tree(root: Path) -> Path:
    """Two images of training, one of validation, three of the test; red is the name."""
    for split, names in {"train": ["8", "22"], "val": ["101"], "test": ["3", "5", "7"]}.items():
        for name in names:
            plain(root / "images" / split / f"{name}.jpg", (16, 12), (int(name), 0, 0))
            save_regions(root / "groundTruth" / split / f"{name}.mat", regions(int(name)))
        (root / "images" / split / "Thumbs.db").touch()
    return root


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask as COCO writes it, compressed."""
    pycocotools = pytest.importorskip("pycocotools.mask")
    coded: dict[str, Any] = pycocotools.encode(np.asfortranarray(mask.astype(np.uint8)))
    return coded | {"counts": coded["counts"].decode()}


def rectangle(
    height: int, width: int, top: int, left: int, bottom: int, right: int
) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def person(image: int, bbox: list[float], parts: dict[int, NDArray[np.bool_]]) -> dict[str, Any]:
    """Masks of 14 parts in a square of 256, by part."""
    masks = [run_lengths(parts[n]) if n in parts else [] for n in range(1, 15)]
    return {"image_id": image, "bbox": bbox, "dp_masks": masks}


def densepose_tree(root: Path) -> Path:
    """Three images: two people, one whose parts nobody has drawn, one in part outside of it."""
    square = partial(rectangle, 256, 256)
    half = {HEAD: square(0, 0, 128, 256), LEG: square(128, 0, 256, 256)}
    left = {TORSO: square(0, 0, 256, 128), HAND: square(0, 128, 64, 256)}
    for split, name in (("train2014", "train"), ("val2014", "minival")):
        files = [f"COCO_{split}_{number:012d}.jpg" for number in _PEOPLE]
        images = [{"id": n, "file_name": file} for n, file in zip(_PEOPLE, files, strict=True)]
        annotations = [
            person(4, [2, 4, 8, 12], half),
            person(4, [6, 4, 4, 8], left),  # before the other one
            person(11, [-3.5, 10, 8, 40], half),
            {"image_id": 9, "bbox": [0, 0, 5, 5]},
        ]
        content = {"images": images, "annotations": annotations, "categories": []}
        write_json(root / f"annotations/densepose_coco_2014_{name}.json", content)
        for file in files:
            plain(root / split / file, (20, 24), (10, 200, 30))
    return root


def part_imagenet_tree(root: Path) -> Path:
    """Two images, the first with two things."""
    for split in ("train", "val"):
        names = ["n01440764_10.JPEG", "n02100735_7.JPEG"]
        images = [{"id": 70 - place, "file_name": name} for place, name in enumerate(names)]
        snake = run_lengths(rectangle(10, 14, 0, 10, 5, 14))
        annotations = [
            {"image_id": 70, "category_id": 1, "segmentation": [[2, 2, 12, 2, 12, 8, 2, 8]]},
            {"image_id": 69, "category_id": 0, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]},
            {"image_id": 70, "category_id": 5, "segmentation": snake},
        ]
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        write_json(root / f"annotations/{split}.json", content)
        for name in names:
            plain(root / "images" / split / name[:9] / name, (14, 10), (10, 200, 30))
    return root


def webdataset_tree(root: Path) -> Path:
    """Shards of the library webdataset."""
    from support.sources import encoded, write_shards  # which needs this file

    return write_shards(root, encoded(root.with_name("of_shards")))


def huggingface_tree(root: Path) -> Path:
    """Arrow files of the library datasets."""
    from support.sources import encoded, tables

    tables(encoded(root.with_name("of_tables"))).save_to_disk(root)
    return root


def parquet_tree(root: Path) -> Path:
    """Parquet files of the library datasets."""
    from support.sources import encoded, tables, write_parquet

    return write_parquet(root, tables(encoded(root.with_name("of_parquet"))))


TREES = {
    "imagenet": imagenet_tree,
    "imagenet100": imagenet100_tree,
    "image_folder": imagenet_tree,
    "unlabelled_folder": imagenet_tree,
    "coco": coco_tree,
    "cifar10": cifar10_tree,
    "webdataset": webdataset_tree,
    "webdataset_stream": webdataset_tree,
    "huggingface": huggingface_tree,
    "huggingface_stream": parquet_tree,
    "voc": voc_aug_tree,
    "voc_square": voc_aug_tree,
    "voc_aug": voc_aug_tree,
    "voc_folder": voc_tree,
    "ade20k": ade20k_tree,
    "pascal_context": pascal_context_tree,
    "camvid": voc_tree,
    "bsds500": bsds500_tree,
    "densepose": densepose_tree,
    "part_imagenet": part_imagenet_tree,
}
"""What writes a data set that an option of `data` reads."""
