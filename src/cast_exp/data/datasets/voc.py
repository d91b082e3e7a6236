"""Images with label maps as Pascal VOC has them: VOC 2012, VOC with SBD, any folder like it."""

import os
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import SBDataset
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.datasets.voc import DATASET_YEAR_DICT

from cast_exp.data.datasets.archives import Archive
from cast_exp.data.datasets.base import ImageFiles, Split, read_map
from cast_exp.data.datasets.held_out import Share, part_of
from cast_exp.data.datasets.images import read_image
from cast_exp.data.datasets.sbd import write_labels
from cast_exp.errors import UserError
from cast_exp.ops.labels import VOID

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
"""The 21 semantic classes of Pascal VOC in the order of the labels."""

_LAYOUT = "<root>/{JPEGImages,SegmentationClass}/* and <root>/ImageSets/Segmentation/<split>.txt"
_YEAR = DATASET_YEAR_DICT["2012"]
_VOC = Archive(_YEAR["url"], _YEAR["md5"], "VOCdevkit")
_SBD = Archive(SBDataset.url, SBDataset.md5, "benchmark_RELEASE")


class VOCFolder(ImageFiles):
    """Any images with label maps in VOC's layout.

    ``root`` holds ``ImageSets/Segmentation/<list>.txt`` (a name in each line), images
    ``JPEGImages/<name>.jpg`` (or of another suffix) and label maps
    ``SegmentationClass/<name>.png``, palette or grey, of the image's size.
    ``SegmentationObject/<name>.png`` with a number for each object is optional.

    An item has, besides ``image`` and ``label`` (0: there is none), uint8 arrays (H, W):
    ``semantic``, the index of the class or 255 for void; if there are objects of all names of the
    list, ``instance``, 0 for none, 255 for void.

    Where there is no list of validation images, some of the training images are held out for
    validation, by their names; see `cast_exp.data.datasets.held_out`.

    Args:
        split: ``train`` or ``val``.
        root: The folder.
        classes: Names of the label values 0, 1, ...; the first is ``background`` if there is such a
            class.
        train: Name of the list of training images.
        val: Name of the list of validation images; None: there is none.
        held_out: Share of the training images that validates if ``val`` is None.

    Attributes:
        held_out: Names of the images that are held out; empty if there is a list of validation
            images.

    Raises:
        UserError: Another layout, a list that is missing or empty, a name without image or label
            map, or one image only to be shared out. From an item: a label map of another size than
            the image's, or with a value that no class has.
        NoSuchSplit: ``val`` is asked for and configured as None, with nothing held out.
    """

    def __init__(
        self,
        split: Split,
        root: Path | None = None,
        *,
        classes: Sequence[str],
        train: str = "train",
        val: str | None = "val",
        held_out: Share = 0.05,
    ) -> None:
        if root is None:
            raise UserError(f"data.root is not set; give the folder <root> that holds {_LAYOUT}")
        if not all((root / part).is_dir() for part in ("JPEGImages", "ImageSets/Segmentation")):
            raise UserError(f"{root} is not laid out as {_LAYOUT}; correct data.root")
        super().__init__([])
        self.semantic_classes = list(classes)
        self._root = root
        self._labels: list[Path] = []
        names = self._names(train if split == "train" or val is None else val)
        self.held_out: list[str] = []
        if val is None:
            part = part_of(split, map(os.fsencode, names), held_out)
            self.held_out = list(compress(names, part if split == "val" else ~part))
            names = list(compress(names, part))
        self._add(names, root / "SegmentationClass")
        objects = _by_stem(root / "SegmentationObject", [".png"])
        self._objects = [objects[n] for n in names] if objects.keys() >= set(names) else None

    def _names(self, name: str) -> list[str]:
        """The names of a list."""
        file = self._root / f"ImageSets/Segmentation/{name}.txt"
        if not file.is_file():
            there = ", ".join(sorted(found.stem for found in file.parent.glob("*.txt")))
            raise UserError(f"no list {file} (there is: {there or 'none'}); expected {_LAYOUT}")
        lines = file.read_text(encoding="utf-8").split("\n")
        names = [line.split()[0] for line in lines if line.strip()]
        if not names:
            raise UserError(f"{file} is empty; it should have the name of an image in each line")
        return names

    def _add(self, names: list[str], labels: Path) -> None:
        """Add images and label maps, of which every one must be there."""
        for kind, files, folder, suffixes in (
            ("image", self._images, self._root / "JPEGImages", IMG_EXTENSIONS),
            ("label map", self._labels, labels, [".png"]),
        ):
            found = _by_stem(folder, suffixes)
            missing = [name for name in names if name not in found]
            if missing:
                shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
                raise UserError(
                    f"{len(missing)} of {len(names)} listed images have no {kind} in {folder}: "
                    f"{shown}; add the files, or take the names off the list"
                )
            files += [found[name] for name in names]

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = read_image(self._images[index])
        semantic = read_map(self._labels[index], image)
        classes = len(self.semantic_classes)
        counts = np.bincount(semantic.ravel(), minlength=VOID)
        if strange := (classes + counts[classes:VOID].nonzero()[0]).tolist():
            raise UserError(
                f"{self._labels[index]} has the value {strange[0]}, but the {classes} classes have "
                f"0 to {classes - 1} ({VOID} is void); correct the file or data.dataset.classes"
            )
        item = {"image": image, "label": 0, "semantic": semantic}
        if self._objects is not None:
            item["instance"] = read_map(self._objects[index], image)
        return item

    def _truth_files(self) -> list[Path]:
        return [*self._labels, *(self._objects or [])]


class VOC(VOCFolder):
    """Pascal VOC 2012, segmentation: 1,464 training and 1,449 validation images, 21 classes.

    ``root`` holds ``VOCdevkit/VOC2012`` as published.

    Args:
        split: ``train`` or ``val``.
        root: The folder that holds ``VOCdevkit``.
        download: Fetch the published archive (2 GB) into ``root`` if it is not there.

    Raises:
        UserError: It is not there, is damaged or cannot be fetched; see also `VOCFolder`.
    """

    def __init__(self, split: Split, root: Path | None = None, download: bool = False) -> None:
        super().__init__(split, _VOC.folder(root, download) / "VOC2012", classes=VOC_CLASSES)


class VOCAugmented(VOC):
    """Pascal VOC 2012 with the further annotations of SBD ("train+"): 10,582 training images.

    Those are VOC's own 1,464, with VOC's labels, and all images of SBD that are in neither split of
    VOC; validation is VOC's. ``root`` holds ``VOCdevkit/VOC2012`` and
    ``benchmark_RELEASE/dataset/cls/*.mat`` as published (Hariharan et al., 2011). When first used,
    the latter are written as PNG to ``benchmark_RELEASE/dataset/SegmentationClass``, which needs
    scipy and takes a minute or two; if that is cut, the next time goes on from there.

    Args:
        split: ``train`` or ``val``.
        root: The folder that holds ``VOCdevkit`` and ``benchmark_RELEASE``.
        download: Fetch the published archives (2 GB, 1.4 GB) into ``root`` if they are not there.

    Raises:
        UserError: Something is not there, is damaged or cannot be fetched or written, or scipy is
            not installed; see also `VOCFolder`.
    """

    def __init__(self, split: Split, root: Path | None = None, download: bool = False) -> None:
        super().__init__(split, root, download)
        if split == "train":
            dataset = _SBD.folder(root, download) / "dataset"
            own = {*self._names("train"), *self._names("val")}
            self._add(sorted(write_labels(dataset) - own), dataset / "SegmentationClass")
            self._objects = None


def _by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files of a folder that have one of the suffixes, by their names without."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        split = [os.path.splitext(entry.name) for entry in entries]
    return {stem: folder / (stem + end) for stem, end in split if end.lower() in suffixes}
