"""Pascal Context: all pixels of VOC 2010's images have a class (Mottaghi et al., 2014)."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cast_exp.data.datasets.base import Split
from cast_exp.data.datasets.mat_labels import write_maps
from cast_exp.data.datasets.nearby import other_root
from cast_exp.data.datasets.voc import VOCFolder
from cast_exp.errors import UserError

PASCAL_CONTEXT_CLASSES = (
    *("background", "aeroplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird"),
    *("boat", "book", "bottle", "building", "bus", "cabinet", "car", "cat", "ceiling", "chair"),
    *("cloth", "computer", "cow", "cup", "curtain", "dog", "door", "fence", "floor", "flower"),
    *("food", "grass", "ground", "horse", "keyboard", "light", "motorbike", "mountain"),
    *("mouse", "person", "plate", "platform", "pottedplant", "road", "rock", "sheep"),
    *("shelves", "sidewalk", "sign", "sky", "snow", "sofa", "table", "track", "train", "tree"),
    *("truck", "tvmonitor", "wall", "water", "window", "wood"),
)
"""The 60 classes in the order of the labels; background is what is none of the 59 others."""

# The published numbers of these 59, the most frequent of all.
_NUMBERS = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105),
    *(113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308),
    *(324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454),
    458,
)
_PUBLISHED = 459

_VOC = "VOCdevkit/VOC2010"
_MASKS = "SegmentationClassContext"
_LISTS = "ImageSets/SegmentationContext"


class PascalContext(VOCFolder):
    """Pascal Context: 4,998 training and 5,105 validation images, 60 classes.

    ``root`` holds ``VOCdevkit/VOC2010`` with ``JPEGImages``, label maps
    ``SegmentationClassContext/<name>.png`` (numbers of the classes, 255 for void) and lists
    ``ImageSets/SegmentationContext/{train,val}.txt``, as mmsegmentation prepares them.

    Or, beside VOC 2010 as published, the annotations as published, ``trainval/<name>.mat`` with
    459 classes: when first used, they are written as such label maps, which needs scipy; if that
    is cut, the next time goes on from there. Without lists of its own, those of all VOC 2010 are
    taken, ``ImageSets/Main/{train,val}.txt``, which are the same.

    Args:
        split: ``train`` or ``val``.
        root: The folder that holds ``VOCdevkit`` and perhaps ``trainval``.

    Raises:
        UserError: Something is not there, is damaged or cannot be written, or scipy is not
            installed; see also `VOCFolder`.
    """

    def __init__(self, split: Split, root: Path | None = None) -> None:
        if root is None:
            raise UserError(f"data.root is not set; give the folder that holds {_VOC}")
        voc = root / _VOC
        if not voc.is_dir():
            raise UserError(
                f"no {_VOC} in {root}"
                + (
                    other_root(root, lambda other: (other / _VOC).is_dir())
                    or "; correct data.root, which holds Pascal Context beside the images of "
                    "VOC 2010"
                )
            )
        published = sorted((root / "trainval").glob("*.mat"))
        if published:
            write_maps(published, voc / _MASKS, _labels, "Pascal Context")
        elif not (voc / _MASKS).is_dir():
            raise UserError(
                f"no label maps of Pascal Context: neither {voc / _MASKS} nor "
                f"{root / 'trainval'}/*.mat; unpack its trainval.tar.gz in {root}"
            )
        lists = _LISTS if (voc / _LISTS).is_dir() else "ImageSets/Main"
        super().__init__(split, voc, classes=PASCAL_CONTEXT_CLASSES, masks=_MASKS, lists=lists)


def _labels(held: dict[str, Any]) -> NDArray[np.uint8]:
    """The class of each pixel in what a published file holds, uint8 (H, W)."""
    table = np.zeros(_PUBLISHED + 1, np.uint8)
    table[[*_NUMBERS]] = range(1, len(_NUMBERS) + 1)
    labels: NDArray[np.uint8] = table[held["LabelMap"]]
    return labels
