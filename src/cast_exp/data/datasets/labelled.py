"""Images whose labels stand in the data set itself: shards and tables."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import compress
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from cast_exp.data.datasets.base import Split, readable
from cast_exp.data.datasets.held_out import Share, part_of
from cast_exp.data.datasets.images import decode_image
from cast_exp.errors import UserError


class LabelledImages(Dataset[dict[str, Any]], ABC):
    """Images of a source that numbers them, in its order.

    Args:
        split: ``train`` or ``val``.
        place: The source, for messages.
        names: A name of each image that stays its own whatever is added, bytes (N,).
        labels: The label of each, (N,): class numbers, negative where there is none, or class
            names, empty where there is none. None: all are of one class called ``image``.
        classes: Names of the classes in the order of their numbers.
        held_out: Share of the images that validates; None where the split is whole.

    Attributes:
        held_out: Names of the images that are held out.

    Raises:
        UserError: There is no image, or some have no label.
        NoSuchSplit: ``val`` is asked for, with nothing held out.
    """

    def __init__(
        self,
        split: Split,
        place: str,
        names: NDArray[np.bytes_],
        labels: NDArray[Any] | None,
        classes: list[str],
        held_out: Share | None,
    ) -> None:
        if not len(names):
            raise UserError(f"there are no images in {place}")
        if labels is None:
            labels, classes = np.zeros(len(names), np.int32), ["image"]
        missing = labels == "" if labels.dtype.kind == "U" else labels < 0
        if missing.any():
            raise UserError(
                f"{missing.sum()} of the {len(names)} images in {place} have no label, first "
                f"{names[missing.argmax()].decode()}; choose another split, or set "
                "data.dataset.label=null to go without labels"
            )
        if labels.dtype.kind == "U":
            labels = np.searchsorted(classes, labels)
        self.classes = classes
        self.held_out: list[str] = []
        self._rows = np.arange(len(names))
        self._labels = labels
        if held_out is not None:
            part = part_of(split, names.tolist(), held_out)
            apart = part if split == "val" else ~part
            self.held_out = [name.decode() for name in compress(names.tolist(), apart)]
            self._rows, self._labels = self._rows[part], labels[part]

    @abstractmethod
    def open_row(self, row: int) -> BinaryIO:
        """Open the file of an image, numbered as in the source."""

    @abstractmethod
    def row_path(self, row: int) -> str:
        """What stands for the file of an image in messages, numbered as in the source."""

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with readable(self.path(index)), self.open_row(int(self._rows[index])) as file:
            return {"image": decode_image(file), "label": int(self._labels[index])}

    def path(self, index: int) -> str:
        """What stands for the file of image ``index``."""
        return self.row_path(int(self._rows[index]))

    def present_classes(self) -> set[int]:
        """The classes that the split has an image of."""
        return set(np.unique(self._labels).tolist())


def class_names(labels: Sequence[NDArray[Any]]) -> list[str]:
    """Names of the classes: numbers from 0 to the highest, or sorted names.

    Args:
        labels: Those of each split, as `LabelledImages` takes them.
    """
    found = np.unique(np.concatenate(labels))
    if found.dtype.kind == "U":
        return [name for name in found.tolist() if name]
    return [str(number) for number in range(int(found.max(initial=-1)) + 1)]
