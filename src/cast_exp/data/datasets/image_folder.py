"""Images in folders: ImageNet, COCO and any folder of one's own."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS

from cast_exp.data.datasets.base import Split
from cast_exp.data.datasets.held_out import Share, part_of
from cast_exp.data.datasets.images import read_image
from cast_exp.data.datasets.nearby import imagenet_command, other_root
from cast_exp.errors import UserError

_NONE = np.empty(0, np.bytes_)
_SUFFIXES = tuple(os.fsencode(suffix) for suffix in IMG_EXTENSIONS)


class ImageFolder(Dataset[dict[str, Any]]):
    """``root/<split folder>/<class>/**/*.jpg``, or the same without the class folders.

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
        name = train if split == "train" or val is None else val
        layout = f"<root>/{name}/{'<class>/' if labelled else ''}*.jpg"
        if root is None:
            raise UserError(f"data.root is not set; give the folder that holds {layout}")
        self.folder = root / name
        if not self.folder.is_dir():
            raise UserError(
                f"no folder {self.folder}; expected {layout}"
                + (
                    other_root(root, lambda other: name != "." and (other / name).is_dir())
                    or (imagenet_command(root) if root.is_dir() else "")
                    or f" with <root> = {root}: correct data.root or data.dataset.{split}"
                    + "=null, which holds out some training images" * (name == val)
                )
            )
        if labelled:
            siblings = [root / other for other in (train, val) if other is not None]
            self._index_classes([folder for folder in siblings if folder.is_dir()])
        else:
            self.classes = ["image"]
            self._folders = [self.folder]
            self._names = _image_names(self.folder)
            self._labels = np.zeros(len(self._names), np.int32)
        if len(self) == 0:
            raise UserError(self._nothing_found(layout, labelled))
        self.held_out: list[str] = []
        if val is None:
            self._take_part(split, held_out)

    def _index_classes(self, split_folders: list[Path]) -> None:
        present = sorted(self._class_folders(self.folder))
        self.classes = sorted(set().union(*map(self._class_folders, split_folders)))
        self._folders = [self.folder / name for name in self.classes]
        # Reading directories is waiting: threads hide the latency of network file systems.
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(_image_names, [self.folder / name for name in present]))
        counts = dict(zip(present, map(len, found), strict=True))
        if empty := [name for name in present if not counts[name]]:
            raise UserError(
                f"{len(empty)} class folder(s) in {self.folder} hold no image: "
                f"{', '.join(empty[:20])}{', ...' if len(empty) > 20 else ''}; "
                "fill them or remove them"
            )
        self._names = np.concatenate([_NONE, *found])
        labels = np.arange(len(self.classes), dtype=np.int32)
        self._labels = np.repeat(labels, [counts.get(name, 0) for name in self.classes])

    def _take_part(self, split: Split, share: float) -> None:
        """Keep the images that are in the split, of all that the training folder holds."""
        within = [os.fsencode(folder.relative_to(self.folder)) for folder in self._folders]
        prefixes = [b"" if folder == b"." else folder + b"/" for folder in within]
        names = [
            prefixes[label] + name for label, name in zip(self._labels, self._names, strict=True)
        ]
        part = part_of(split, names, share)
        held_out = compress(names, part if split == "val" else ~part)
        self.held_out = [os.fsdecode(name) for name in held_out]
        self._names, self._labels = self._names[part], self._labels[part]

    def present_classes(self) -> set[int]:
        """The classes that the split has an image of."""
        return set(np.unique(self._labels).tolist())

    def _class_folders(self, folder: Path) -> set[str]:
        """Names of the class folders directly below ``folder``."""
        with os.scandir(folder) as entries:
            return {e.name for e in entries if not e.name.startswith(".") and e.is_dir()}

    def _nothing_found(self, layout: str, labelled: bool) -> str:
        loose = len(_image_names(self.folder)) if labelled else 0
        if loose:
            return f"{self.folder} holds {loose} images but no class folders; expected {layout}" + (
                imagenet_command(self.folder)
                or ": sort them into one folder per class, or set data.dataset.labelled=false"
            )
        return f"no images in {self.folder}; expected {layout}{imagenet_command(self.folder)}"

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": read_image(self.path(index)), "label": int(self._labels[index])}

    def path(self, index: int) -> str:
        """The file of image ``index``."""
        return str(self._folders[self._labels[index]] / os.fsdecode(self._names[index]))

    def files(self) -> Iterator[str]:
        """The file of each image, in order."""
        folders = [f"{folder}{os.sep}" for folder in self._folders]
        for label, name in zip(self._labels, self._names, strict=True):
            yield folders[label] + os.fsdecode(name)


def _image_names(folder: Path) -> NDArray[np.bytes_]:
    """Sorted names, relative to ``folder``, of the image files in it and below it."""
    return np.array(sorted(_walk(os.fsencode(folder), b"")), np.bytes_)


def _walk(folder: bytes, prefix: bytes) -> Iterable[bytes]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(b"."):
                continue
            # The suffix first: asking for the type of a file can cost a system call.
            if entry.name.lower().endswith(_SUFFIXES):
                yield prefix + entry.name
            elif entry.is_dir():
                yield from _walk(entry.path, prefix + entry.name + b"/")
