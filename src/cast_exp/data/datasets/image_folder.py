"""Images in folders, or in tars of them: COCO and any folder of one's own."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch.utils.data import Dataset

from cast_exp.data.datasets.base import Split, readable
from cast_exp.data.datasets.held_out import Share, part_of
from cast_exp.data.datasets.images import decode_image
from cast_exp.data.datasets.nearby import imagenet_command, other_root
from cast_exp.data.datasets.tars import Tar
from cast_exp.data.datasets.trees import Folder, ImageTree
from cast_exp.errors import UserError

_NONE = np.empty(0, np.bytes_)


class ImageFolder(Dataset[dict[str, Any]]):
    """``root/<split folder>/<class>/**/*.jpg``, or the same without the class folders.

    An uncompressed tar stands for a split folder: ``root/<split folder>.tar``.

    The class index is the position of the class folder's name in sorted order, over the class
    folders of both splits, so that labels of the two always agree. Within a class, files are in
    sorted order. Hidden files are passed over, and so is whatever has no image suffix. Links are
    followed. Only names are read here, each folder once; they are kept as one byte array (about
    30 MB for ImageNet), which forked workers share.

    Where there is no folder of validation images, some of the training images are held out for
    validation, by their names; see `cast_exp.data.datasets.held_out`.

    Args:
        split: ``train`` or ``val``.
        root: The folder that holds the split folders.
        train: Folder of the training images under ``root``; ``.`` is the root itself.
        val: Folder of the validation images under ``root``; None: there is none.
        labelled: Whether there is a folder for each class. If not, all images below the split
            folder, however deep, are of one class called ``image``.
        held_out: Share of the training images that validates if ``val`` is None.

    Attributes:
        held_out: Names of the images that are held out, under the folder of training images; empty
            if there is a folder of validation images.

    Raises:
        UserError: ``root`` or the split's folder is missing, there are no class folders or no
            images, a class folder is empty, or one image only is to be shared out.
        NoSuchSplit: ``val`` is asked for and configured as None, with nothing held out.
    """

    def __init__(
        self,
        split: Split,
        root: Path | None = None,
        train: str = "train",
        val: str | None = "val",
        labelled: bool = True,
        held_out: Share = 0.05,
    ) -> None:
        self._train = train
        name = train if split == "train" or val is None else val
        layout = self._layout(name, labelled)
        if root is None:
            raise UserError(f"data.root is not set; give the folder that holds {layout}")
        self.folder = root / name
        tree = self._find(root, name)
        if tree is None:
            raise UserError(
                f"no folder {self.folder}; expected {layout}"
                + (
                    other_root(root, lambda other: name != "." and _is_in(other, name))
                    or imagenet_command(root)
                    or f" with <root> = {root}: correct data.root or data.dataset.{split}"
                    + "=null, which holds out some training images" * (name == val)
                )
            )
        self.tree = tree
        if labelled:
            others = [other for other in (train, val) if other not in (None, name)]
            self._index_classes([tree, *filter(None, (self._find(root, o) for o in others))])
        else:
            self.classes = ["image"]
            self._prefixes = [""]
            self._names = tree.images()
            self._labels = np.zeros(len(self._names), np.int32)
        if len(self) == 0:
            raise UserError(self._nothing_found(layout, labelled))
        self.held_out: list[str] = []
        if val is None:
            self._take_part(split, held_out)

    def _layout(self, name: str, labelled: bool) -> str:
        """What the root should hold for a split."""
        return f"<root>/{name}/{'<class>/' if labelled else ''}*.jpg"

    def _find(self, root: Path, name: str) -> ImageTree | None:
        """The images of a split folder, or of what stands for it."""
        folder, tar = root / name, root / f"{name}.tar"
        if folder.is_dir():
            return Folder(folder)
        return next((Tar(path) for path in (folder, tar) if path.is_file()), None)

    def _index_classes(self, trees: list[ImageTree]) -> None:
        classes = [self._class_folders(tree) for tree in trees]
        present = sorted(classes[0])
        self.classes = sorted(set().union(*classes))
        self._prefixes = [f"{name}/" for name in self.classes]
        # Reading directories is waiting: threads hide the latency of network file systems.
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(trees[0].images, present))
        counts = dict(zip(present, map(len, found), strict=True))
        if empty := [name for name in present if not counts[name]]:
            raise UserError(
                f"{len(empty)} class folder(s) in {self.tree.place} hold no image: "
                f"{', '.join(empty[:20])}{', ...' if len(empty) > 20 else ''}; "
                "fill them or remove them"
            )
        self._names = np.concatenate([_NONE, *found])
        labels = np.arange(len(self.classes), dtype=np.int32)
        self._labels = np.repeat(labels, [counts.get(name, 0) for name in self.classes])

    def _take_part(self, split: Split, share: float) -> None:
        """Keep the images that are in the split, of all that the training folder holds."""
        names = [os.fsencode(name) for name in self.names()]
        part = part_of(split, names, share)
        held_out = compress(names, part if split == "val" else ~part)
        self.held_out = [os.fsdecode(name) for name in held_out]
        self._names, self._labels = self._names[part], self._labels[part]

    def present_classes(self) -> set[int]:
        """The classes that the split has an image of."""
        return set(np.unique(self._labels).tolist())

    def _class_folders(self, tree: ImageTree) -> set[str]:
        """Names of the class folders."""
        return tree.folders()

    def _nothing_found(self, layout: str, labelled: bool) -> str:
        loose = len(self.tree.images()) if labelled else 0
        if loose:
            return (
                f"{self.tree.place} holds {loose} images but no class folders; expected {layout}"
                + (
                    imagenet_command(self.folder)
                    or ": sort them into one folder per class, or set data.dataset.labelled=false"
                )
            )
        return f"no images in {self.tree.place}; expected {layout}{imagenet_command(self.folder)}"

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.read(index, decode_image)

    def read(self, index: int, decode: Callable[[BinaryIO], Any]) -> dict[str, Any]:
        """See `RawDataset`."""
        name = self._name(index)
        with readable(self.tree.path(name)), self.tree.open(name) as file:
            return {"image": decode(file), "label": int(self._labels[index])}

    def path(self, index: int) -> str:
        """The file of image ``index``."""
        return self.tree.path(self._name(index))

    def _name(self, index: int) -> str:
        return f"{self._prefixes[self._labels[index]]}{os.fsdecode(self._names[index])}"

    def names(self) -> Iterator[str]:
        """The path of each image below the split folder, in order."""
        for label, name in zip(self._labels, self._names, strict=True):
            yield self._prefixes[label] + os.fsdecode(name)

    def files(self) -> Iterator[str]:
        """The file of each image, in order, and whatever else they are read from."""
        return self.tree.files(self.names())


def _is_in(root: Path, name: str) -> bool:
    return any((root / place).exists() for place in (name, f"{name}.tar"))
