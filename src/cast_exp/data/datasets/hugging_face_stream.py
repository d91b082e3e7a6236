"""Data sets that the library `datasets` streams: of the hub, or parquet files of one's own."""

from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from pydantic import Field

from cast_exp.config import nearest
from cast_exp.data.datasets.base import NoSuchSplit, Split
from cast_exp.data.datasets.hugging_face import encoded_images, load_splits, split_of
from cast_exp.data.datasets.streamed import (
    Counts,
    Opener,
    StreamedImages,
    class_list,
    class_number,
)
from cast_exp.errors import UserError

_ROWS = 16  # read at a time


class HuggingFaceStream(StreamedImages):
    """A split of a data set that `datasets` streams, file after file; nothing is kept on a disk.

    Args:
        split: ``train`` or ``val``.
        root: A folder that ``load_dataset`` reads, such as one of parquet files, or the name of a
            data set on the hub.
        train: Its split of training images.
        val: Its split of validation images; None: there is none.
        image: Column of the images: of the feature Image, or encoded as bytes.
        label: Column of the classes: of the feature ClassLabel, integers or names. None: all images
            are of one class.
        classes: Their number, if labels are integers, or their names; not needed for ClassLabel.
        images: Images of each split, where the data set does not say.
        subset: Which data set, where there are several under the name.
        revision: Version on the hub: a branch, tag or commit.
        shuffle_buffer: Images that each reader holds, in training, to draw the next from.

    Raises:
        UserError: The library is not installed; it cannot load the data set; a split or column is
            not there or of another kind; numbers of images or classes are not told.
        NoSuchSplit: ``val`` is asked for and configured as None.
    """

    def __init__(
        self,
        split: Split,
        root: Path | None = None,
        train: str = "train",
        val: str | None = "validation",
        image: str = "image",
        label: str | None = "label",
        classes: Annotated[int, Field(ge=1)] | Sequence[str] | None = None,
        images: Counts = {},  # noqa: B006  (not changed)
        subset: str | None = None,
        revision: str | None = None,
        shuffle_buffer: Annotated[int, Field(ge=1)] = 1000,
    ) -> None:
        if root is None:
            raise UserError(
                "data.root is not set; give a folder of parquet files, or the name of a data set "
                "on the hub, OWNER/NAME"
            )
        name = train if split == "train" else val
        if name is None:
            raise NoSuchSplit("the data set has no val split (data.dataset.val is null)")
        table = split_of(load_splits(root, subset, revision, streaming=True), name, split, root)
        self._place = f"{root}[{name}]"
        self._image, self._label = image, label
        names = _classes(table, label, classes, self._place) if label else ["image"]
        self._numbers = {name: number for number, name in enumerate(names)}
        self._table = encoded_images(table, self._place, image, *([label] if label else []))
        known = (table.info.splits or {}).get(name)
        if known and known.num_examples and images.get(split) is None:
            images = {split: known.num_examples}
        shards = [f"{self._place} file {number}" for number in range(table.num_shards)]
        super().__init__(split, shards, images, names, shuffle_buffer)
        self.read_one()

    def read_shard(self, shard: int) -> Iterator[tuple[Opener, int]]:
        """See `StreamedImages`."""
        # Rows of `iter` alone are not shared out among torch's workers once more.
        rows = self._table.shard(len(self.shards), shard).iter(_ROWS)
        try:
            for columns in rows:
                labels = columns[self._label] if self._label else [None] * len(columns[self._image])
                for image, label in zip(columns[self._image], labels, strict=True):
                    yield _opener(image or {}), self._class(label, shard)
        except UserError:
            raise
        except Exception as error:  # of the library, of what it reads with, or of the network
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"datasets cannot read {self.shards[shard]} ({reason}); the run can be resumed"
            ) from error

    def files(self) -> list[str]:
        """What tells this data set from others: its name and version."""
        return [f"{self._place} {self._table.info.version} {self._table.info.download_checksums}"]

    def _class(self, label: Any, shard: int) -> int:
        if self._label is None:
            return 0
        if isinstance(label, int) and 0 <= label < len(self._numbers):
            return label
        return class_number(label, self._numbers, f"a row of {self.shards[shard]}")


def _opener(image: dict[str, Any]) -> Opener:
    """Opens an image of the column, which has its bytes or its place."""
    if image.get("bytes") is None and image.get("path"):
        return partial(_open, image["path"])
    return partial(BytesIO, image.get("bytes") or b"")


def _open(path: str) -> BinaryIO:
    import fsspec  # which datasets brings

    file: BinaryIO = fsspec.open(path).open()
    return file


def _classes(table: Any, column: str, told: int | Sequence[str] | None, place: str) -> list[str]:
    """Names of the classes in a column of labels."""
    from datasets import ClassLabel

    if column not in table.features:
        raise UserError(
            f"{place} has no column {column!r} (data.dataset.label, null to go without labels); "
            f"{nearest(column, table.features)}"
        )
    kind = table.features[column]
    return [*kind.names] if isinstance(kind, ClassLabel) else class_list(told)
