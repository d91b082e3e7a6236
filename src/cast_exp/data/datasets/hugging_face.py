"""Data sets of the library `datasets`: of the hub, or parquet and arrow files of one's own."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cast_exp.config import nearest
from cast_exp.data.datasets.base import Split
from cast_exp.data.datasets.held_out import Share
from cast_exp.data.datasets.labelled import LabelledImages, class_names
from cast_exp.errors import UserError
from cast_exp.extras import from_extra


class HuggingFace(LabelledImages):
    """A split of a data set that `datasets` reads, with columns of images and of their classes.

    It is read from Arrow files that each process maps into its memory. What is not of that form
    (the hub, parquet) the library brings into it once, in its own cache.

    Args:
        split: ``train`` or ``val``.
        root: A folder that ``save_to_disk`` wrote or that ``load_dataset`` reads, such as one of
            parquet files; or, if there is no such folder, the name of a data set on the hub.
        train: Its split of training images.
        val: Its split of validation images; None: some of the training images are held out.
        image: Column of the images: of the feature Image, or encoded as bytes.
        label: Column of the classes: of the feature ClassLabel, integers or names. None: all images
            are of one class.
        subset: Which data set, where there are several under the name.
        revision: Version on the hub: a branch, tag or commit.
        held_out: Share of the training images that validates if ``val`` is None.

    Raises:
        UserError: The library is not installed; it cannot load the data set; a split or column is
            not there or of another kind; some images have no label.
        NoSuchSplit: ``val`` is asked for and configured as None, with nothing held out.
    """

    def __init__(
        self,
        split: Split,
        root: Path | None = None,
        train: str = "train",
        val: str | None = "validation",
        image: str = "image",
        label: str | None = "label",
        subset: str | None = None,
        revision: str | None = None,
        held_out: Share = 0.05,
    ) -> None:
        if root is None:
            raise UserError(
                "data.root is not set; give a folder of parquet or arrow files, or the name of a "
                "data set on the hub, OWNER/NAME"
            )
        there = load_splits(root, subset, revision)
        names = {"train": train} if val is None else {"train": train, "val": val}
        own = "train" if val is None else split
        names = {own: names[own]} | names  # what is missing of it is told first
        tables = {key: split_of(there, name, key, root) for key, name in names.items()}
        self._place = f"{root}[{names[own]}]"
        self._column = image
        self._images = encoded_images(tables[own], self._place, image)
        labels, classes = _labels(tables, label, str(root)) if label else ({}, [])
        rows = np.arange(len(self._images)).astype(np.bytes_)
        share = held_out if val is None else None
        super().__init__(split, self._place, rows, labels.get(own), classes, share)

    def open_row(self, row: int) -> BinaryIO:
        """See `LabelledImages`."""
        found: dict[str, Any] = self._images[row][self._column] or {}
        if found.get("bytes") is not None:
            return BytesIO(found["bytes"])
        if found.get("path"):
            return open(found["path"], "rb")
        raise ValueError("there is no image in this row")

    def row_path(self, row: int) -> str:
        """See `LabelledImages`."""
        return f"{self._place} {row}"

    def files(self) -> list[str]:
        """The Arrow files."""
        return [file["filename"] for file in self._images.cache_files] or [self._place]


def load_splits(
    root: Path, subset: str | None, revision: str | None, streaming: bool = False
) -> Mapping[str, Any]:
    """All splits of a data set, by name; see `HuggingFace`.

    Raises:
        UserError: The library is not installed, or cannot load it.
    """
    datasets = from_extra("huggingface", "a data set of Hugging Face", "datasets")
    if not root.is_dir() and (root.is_absolute() or root.suffix or len(root.parts) > 2):
        raise UserError(f"no folder {root}; correct data.root (a name on the hub is OWNER/NAME)")
    saved = any((root / name).is_file() for name in ("dataset_dict.json", "state.json"))
    if saved and streaming:
        raise UserError(f"{root} was written by save_to_disk; data=huggingface maps it into memory")
    try:
        if saved:
            found = datasets.load_from_disk(root)
        else:
            found = datasets.load_dataset(str(root), subset, revision=revision, streaming=streaming)
    except Exception as error:  # of the library, of what it reads with, or of the network
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"datasets cannot load data.root={root} ({reason}); it should be a folder or, where "
            "the hub or a copy in its cache can be reached, OWNER/NAME"
        ) from error
    return found if isinstance(found, Mapping) else {"train": found}


def split_of(there: Mapping[str, Any], name: str, key: str, root: Path) -> Any:
    """The split of that name, which ``data.dataset.KEY`` is.

    Raises:
        UserError: There is none.
    """
    if name not in there:
        raise UserError(
            f"{root} has no split {name!r} (data.dataset.{key}"
            + ", null where there is none" * (key == "val")
            + f"); {nearest(name, there)}"
        )
    return there[name]


def encoded_images(table: Any, place: str, column: str, *others: str) -> Any:
    """The columns of a table of these names, the first with images that are not decoded.

    Raises:
        UserError: It is not there, or holds no images.
    """
    from datasets import Image, Value

    features = table.features
    of_images = [name for name, kind in features.items() if isinstance(kind, Image)]
    if column not in features:
        hint = nearest(column, of_images or features)
        raise UserError(f"{place} has no column {column!r} (data.dataset.image); {hint}")
    encoded = features[column] in (Value("binary"), Value("large_binary"))
    if column not in of_images and not encoded:
        raise UserError(
            f"the column {column!r} of {place} (data.dataset.image) holds no images but "
            f"{features[column]}; {nearest(column, of_images)}"
        )
    return table.select_columns([column, *others]).cast_column(column, Image(decode=False))


def _labels(
    tables: Mapping[str, Any], column: str, place: str
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The labels of each split as `LabelledImages` takes them, and the names of the classes."""
    from datasets import ClassLabel

    labels, kinds = {}, {}
    for split, table in tables.items():
        if column not in table.features:
            raise UserError(
                f"{place} has no column {column!r} (data.dataset.label, null to go without "
                f"labels); {nearest(column, table.features)}"
            )
        kinds[split] = table.features[column]
        values = table[column][:]
        missing = "" if any(isinstance(value, str) for value in values) else -1
        labels[split] = np.array([missing if value is None else value for value in values])
        if labels[split].dtype.kind not in "iU":
            raise UserError(
                f"the column {column!r} of {place} holds {kinds[split]}; the classes of images "
                "are ClassLabel, integers or names: set data.dataset.label"
            )
    named = [kind.names for kind in kinds.values() if isinstance(kind, ClassLabel)]
    if any(names != named[0] for names in named):
        raise UserError(f"the classes of the splits of {place} differ: {named[0]} and {named[-1]}")
    return labels, named[0] if named else class_names([*labels.values()])
