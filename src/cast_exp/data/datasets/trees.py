"""Where the images of a data set lie: in folders, or in what stands for them."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets.folder import IMG_EXTENSIONS

from cast_exp.errors import UserError, listing

IMAGE_SUFFIXES = tuple(os.fsencode(suffix) for suffix in IMG_EXTENSIONS)


class ImageTree(Protocol):
    """Image files in a folder, or in what stands for one, and below it.

    A name is the path below that folder, with "/" between folders. Hidden files and folders are
    passed over, and so is whatever has no image suffix.
    """

    place: Path
    """The folder, or the file that stands for it."""

    def folders(self) -> set[str]:
        """Names of the folders directly below it."""
        ...

    def images(self, folder: str = "") -> NDArray[np.bytes_]:
        """Sorted names, relative to a folder, of the images in it and below it."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open the file of an image.

        Raises:
            OSError: It cannot be read.
            ValueError: It is damaged.
        """
        ...

    def path(self, name: str) -> str:
        """The file of an image, for messages."""
        ...

    def files(self, names: Iterable[str]) -> Iterator[str]:
        """All files that these images are read from."""
        ...


class Folder:
    """A folder of images. Links are followed; only names are read until an image is opened."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def folders(self) -> set[str]:
        """See `ImageTree`."""
        with os.scandir(self.place) as entries:
            return {e.name for e in entries if not e.name.startswith(".") and e.is_dir()}

    def images(self, folder: str = "") -> NDArray[np.bytes_]:
        """See `ImageTree`."""
        return np.array(sorted(_walk(os.fsencode(self.place / folder), b"")), np.bytes_)

    def open(self, name: str) -> BinaryIO:
        """See `ImageTree`."""
        return (self.place / name).open("rb")

    def path(self, name: str) -> str:
        """See `ImageTree`."""
        return str(self.place / name)

    def files(self, names: Iterable[str]) -> Iterator[str]:
        """See `ImageTree`."""
        return (f"{self.place}{os.sep}{name}" for name in names)


class ListedTree(ABC):
    """Images whose names are known.

    Args:
        place: What stands for their folder.
        names: Their names, sorted.
    """

    def __init__(self, place: Path, names: NDArray[np.bytes_]) -> None:
        self.place = place
        self.names = names

    def folders(self) -> set[str]:
        """See `ImageTree`."""
        return {os.fsdecode(n.partition(b"/")[0]) for n in self.names.tolist() if b"/" in n}

    def images(self, folder: str = "") -> NDArray[np.bytes_]:
        """See `ImageTree`."""
        if not folder:
            return self.names
        within = os.fsencode(folder)
        start, end = np.searchsorted(self.names, [within + b"/", within + b"0"])  # "0" follows "/"
        names = self.names[start:end].tolist()
        return np.array([name[len(within) + 1 :] for name in names], np.bytes_)

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """See `ImageTree`."""

    @abstractmethod
    def path(self, name: str) -> str:
        """See `ImageTree`."""

    @abstractmethod
    def files(self, names: Iterable[str]) -> Iterator[str]:
        """See `ImageTree`."""


class SortedTree(ListedTree):
    """Images without folders, as if they were in a folder for each class.

    Args:
        tree: The images.
        classes: The class of each, by its name without suffix.
        source: The file that tells the classes.

    Raises:
        UserError: Some images have no class.
    """

    def __init__(self, tree: ImageTree, classes: Mapping[str, str], source: Path) -> None:
        names = [os.fsdecode(name) for name in tree.images()]
        stems = [name.rpartition(".")[0] for name in names]
        if unknown := [stem for stem in stems if stem not in classes]:
            raise UserError(
                f"{source} has no class for {len(unknown)} of the {len(names)} images in "
                f"{tree.place}: {listing(unknown, 3)}; take both from the same release"
            )
        found = (f"{classes[stem]}/{name}" for stem, name in zip(stems, names, strict=True))
        super().__init__(tree.place, np.array(sorted(map(os.fsencode, found)), np.bytes_))
        self._tree = tree
        self._source = source

    def open(self, name: str) -> BinaryIO:
        """See `ImageTree`."""
        return self._tree.open(_without_class(name))

    def path(self, name: str) -> str:
        """See `ImageTree`."""
        return self._tree.path(_without_class(name))

    def files(self, names: Iterable[str]) -> Iterator[str]:
        """See `ImageTree`."""
        yield str(self._source)
        yield from self._tree.files(map(_without_class, names))


def _without_class(name: str) -> str:
    return name.partition("/")[2]


def _walk(folder: bytes, prefix: bytes) -> Iterator[bytes]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(b"."):
                continue
            # The suffix first: asking for the type of a file can cost a system call.
            if entry.name.lower().endswith(IMAGE_SUFFIXES):
                yield prefix + entry.name
            elif entry.is_dir():
                yield from _walk(entry.path, prefix + entry.name + b"/")
