"""WebDataset shards, read in place and in any order: only an index of them is made, once."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from cast_exp.data.datasets.base import Split
from cast_exp.data.datasets.held_out import Share
from cast_exp.data.datasets.labelled import LabelledImages, class_names
from cast_exp.data.datasets.tars import kept_index, members, names_of, names_tensor
from cast_exp.errors import UserError, listing

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


class WebDataset(LabelledImages):
    """Samples in uncompressed tar shards, as the library webdataset writes them.

    The files of a sample follow each other in a shard and have a name in common up to the first
    dot: ``0017.jpg``, ``0017.cls``. The image is the file with an image suffix (the first of
    torchvision's order if there are several); a sample without one is passed over. Samples are
    numbered in the order of the shards' names, so that any of them can be read at any time.

    Args:
        split: ``train`` or ``val``.
        root: The folder of the shards.
        train: The shards of training, below ``root``: a pattern with ``*``, ``?``, ``[...]``,
            ``{000..146}`` or ``{a,b}``.
        val: Those of validation; None: some of the training images are held out.
        label: Suffix of the file that holds the class, a number or a name as UTF-8; with a dot, as
            in ``json.label``, a field of a JSON file. None: all images are of one class.
        held_out: Share of the training images that validates if ``val`` is None.

    Raises:
        UserError: ``root`` or a shard is missing, a shard is of both splits, damaged or compressed,
            a sample has no label, or there is no image.
        NoSuchSplit: ``val`` is asked for and configured as None, with nothing held out.
    """

    def __init__(
        self,
        split: Split,
        root: Path | None = None,
        train: str = "*train*.tar",
        val: str | None = "*val*.tar",
        label: str | None = "cls",
        held_out: Share = 0.05,
    ) -> None:
        if root is None:
            raise UserError("data.root is not set; give the folder that holds the shards, *.tar")
        patterns = {"train": train} if val is None else {"train": train, "val": val}
        own = "train" if val is None else split
        patterns = {own: patterns[own]} | patterns  # what is missing of it is told first
        shards = {name: shards_below(root, pattern, name) for name, pattern in patterns.items()}
        if both := sorted(set(shards["train"]).intersection(shards.get("val", []))):
            raise UserError(
                f"{both[0]} is a shard of training and of validation; correct "
                "data.dataset.train and data.dataset.val"
            )
        found = {name: _index(paths, label) for name, paths in shards.items()}
        labels = _labels({name: index.labels for name, index in found.items()}) if label else {}
        self._shards, self._names, self._places = shards[own], found[own].names, found[own].places
        super().__init__(
            split,
            f"{root}/{patterns[own]}",
            self._names,
            labels.get(own),
            class_names([*labels.values()]) if label else [],
            held_out if val is None else None,
        )

    def open_row(self, row: int) -> BinaryIO:
        """See `LabelledImages`."""
        shard, offset, length = self._places[row].tolist()
        with self._shards[shard].open("rb") as file:
            file.seek(offset)
            return BytesIO(file.read(length))

    def row_path(self, row: int) -> str:
        """See `LabelledImages`."""
        return f"{self._shards[self._places[row, 0]].parent}/{os.fsdecode(self._names[row])}"

    def files(self) -> list[str]:
        """The shards."""
        return [str(shard) for shard in self._shards]


def shards_below(root: Path, pattern: str, split: str) -> list[Path]:
    """The shards that a pattern names, sorted.

    Raises:
        UserError: There is none; ``data.dataset.SPLIT`` is said to be wrong.
    """
    shards: list[Path] = []
    for part in expanded(pattern):
        try:
            found = sorted(root.glob(part))
        except (ValueError, NotImplementedError, IndexError) as error:  # of pathlib
            raise UserError(
                f"data.dataset.{split}={part} is no pattern of files below data.root "
                f"({error}); one is *{split}*.tar"
            ) from error
        if not found:
            there = listing(sorted(path.name for path in root.glob("*.tar")), 3)
            raise UserError(
                f"no shard {root / part} (tars there: {there or 'none'}); correct data.root, the "
                f"folder of the shards, or data.dataset.{split}"
                + ", a pattern; null holds out some training images"
                * (split == "val")
            )
        shards += found
    return sorted(set(shards))


def expanded(pattern: str) -> Iterator[str]:
    """What a pattern with braces stands for, as in a shell."""
    *parts, end = _BRACES.split(pattern)  # text and content of braces in turn
    choices = [[text] if number % 2 == 0 else _choices(text) for number, text in enumerate(parts)]
    return map("".join, product(*choices, [end]))


def _choices(braces: str) -> list[str]:
    if numbers := _RANGE.fullmatch(braces):
        first, last = numbers.groups()
        return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return braces.split(",")


class Index(NamedTuple):
    """Where the images of some shards are.

    Attributes:
        names: Shard and file, bytes (N,).
        places: Number of the shard, offset and length in bytes, int64 (N, 3).
        labels: What the shards have as labels, bytes (N,), empty where there is none.
    """

    names: NDArray[np.bytes_]
    places: NDArray[np.int64]
    labels: NDArray[np.bytes_]


def _index(shards: Sequence[Path], label: str | None) -> Index:
    def read() -> dict[str, Tensor]:
        with ThreadPoolExecutor(16) as pool:  # reading is waiting, on a network file system
            parts = [*pool.map(_read, shards, [label] * len(shards))]
        names, places, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        numbers = np.repeat(np.arange(len(shards)), [len(part.names) for part in parts])
        return {
            "names": names_tensor(names),
            "labels": names_tensor(labels),
            "places": torch.from_numpy(np.column_stack([numbers, places])),
        }

    found = kept_index(shards, read, f"label={label}")
    names, labels = (names_of(found[column]) for column in ("names", "labels"))
    return Index(names, found["places"].numpy(), labels)


def _read(shard: Path, label: str | None) -> Index:
    """The images of one shard; the number of the shard is left out of the places."""
    samples: dict[str, dict[str, tuple[str, int, int]]] = {}
    for name, offset, length, _ in members(shard):
        folder, _, file = name.rpartition("/")
        key, _, suffix = file.partition(".")
        if key:  # not hidden
            sample = samples.setdefault(f"{folder}/{key}", {})
            sample[suffix.lower()] = (f"{shard.name}/{name}", offset, length)
    suffix, _, field = (label or "").partition(".")
    names, places, labels = [], [], []
    with shard.open("rb") as file_of_labels:
        for sample in samples.values():
            image = next((sample[end[1:]] for end in IMG_EXTENSIONS if end[1:] in sample), None)
            if image is None:
                continue
            text = b""
            if suffix in sample:
                path, offset, length = sample[suffix]
                file_of_labels.seek(offset)
                text = label_text(file_of_labels.read(length), field, path)
            names.append(os.fsencode(image[0]))
            places.append(image[1:])
            labels.append(text)
    if label and names and not any(labels):
        there = listing(sorted(set().union(*samples.values())))
        raise UserError(
            f"no sample in {shard} has the label {label} (files of a sample there: {there}); "
            "correct data.dataset.label, or set it to null to go without labels"
        )
    return Index(
        np.array(names, np.bytes_),
        np.array(places, np.int64).reshape(-1, 2),
        np.array(labels, np.bytes_),
    )


def label_text(content: bytes, field: str, path: str) -> bytes:
    """What a file has as label, empty if it lacks the field.

    Args:
        content: Of the file.
        field: Of JSON; empty if the file is not JSON.
        path: Of the file, for messages.

    Raises:
        UserError: It is no UTF-8, or no JSON object.
    """
    try:
        text = str(json.loads(content).get(field, "")) if field else content.decode()
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} is not the label it should be ({error})") from error
    return text.strip().encode()


def _labels(found: Mapping[str, NDArray[np.bytes_]]) -> dict[str, NDArray[Any]]:
    """Class numbers by split if all labels are numbers, else names."""
    names = {split: np.char.decode(labels, "utf-8") for split, labels in found.items()}
    if not all(np.char.isdecimal(labels[labels != ""]).all() for labels in names.values()):
        return names
    return {
        split: np.where(labels == "", "-1", labels).astype(np.int64)
        for split, labels in names.items()
    }
