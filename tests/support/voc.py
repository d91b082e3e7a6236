"""A few tiny images in the layout of Pascal VOC."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN, VAL = ["2007_01", "2007_02", "2007_03"], ["2008_01", "2008_02"]


def draw(root: Path, name: str, seed: int, classes: int = 3, objects: bool = False) -> None:
    """An image and its label map (palette), of a size that depends on the seed."""
    random = np.random.default_rng(seed)
    size = 40 + seed % 7, 30 + seed % 5
    coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).save(_at(root, "JPEGImages", f"{name}.jpg"))
    values = random.integers(0, classes, (4, 5), dtype=np.uint8)
    values[0, 0] = 255
    save_map(_at(root, "SegmentationClass", f"{name}.png"), values, size)
    if objects:
        save_map(_at(root, "SegmentationObject", f"{name}.png"), values, size)


def save_map(path: Path, values: np.ndarray, size: tuple[int, int]) -> None:
    drawn = Image.fromarray(values).resize(size, Image.Resampling.NEAREST)
    drawn.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.save(path)


def write_list(root: Path, name: str, names: Sequence[str]) -> Path:
    path = _at(root, "ImageSets/Segmentation", f"{name}.txt")
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def voc_tree(root: Path, objects: bool = False) -> Path:
    """Three training images and two of validation; three classes."""
    for seed, name in enumerate(TRAIN + VAL):
        draw(root, name, seed, objects=objects)
    write_list(root, "train", TRAIN)
    write_list(root, "val", VAL)
    return root


def _at(root: Path, folder: str, name: str) -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    return root / folder / name


def by_hand(path: Path) -> np.ndarray:
    with Image.open(path) as drawn:
        return np.array(drawn)


# -- any folder ----------------------------------------------------------------------------------
