"""WebDataset shards that are streamed by the library webdataset, from wherever it reads."""

from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from torchvision.datasets.folder import IMG_EXTENSIONS

from cast_exp.data.datasets.base import NoSuchSplit, Split
from cast_exp.data.datasets.streamed import (
    Counts,
    Opener,
    StreamedImages,
    class_list,
    class_number,
)
from cast_exp.data.datasets.webdataset import expanded, label_text, shards_below
from cast_exp.errors import UserError
from cast_exp.extras import from_extra


class WebDatasetStream(StreamedImages):
    """Samples of tar shards in their order, of which no index is made.

    What a sample is, its image and its label, is as in `WebDataset`; shards may be compressed, too.

    Args:
        split: ``train`` or ``val``.
        root: Folder of the shards that are files; not needed for others.
        train: The shards of training: a pattern below ``root`` as for `WebDataset`, a URL
            (``https://``, ``gs://``, ``hf://``, ...) or, after ``pipe:``, a shell command that
            writes a shard; URLs and commands may have braces. Or a list of these.
        val: Those of validation; None: there is none.
        label: Suffix of the file that holds the class; with a dot, as in ``json.label``, a field of
            a JSON file. None: all images are of one class.
        classes: Their number, if labels are numbers, or their names as the labels have them.
        images: Images of each split.
        shuffle_buffer: Images that each reader holds, in training, to draw the next from.

    Raises:
        UserError: The library is not installed, a shard that is a file is missing, or numbers of
            images or classes are not told.
        NoSuchSplit: ``val`` is asked for and configured as None.
    """

    def __init__(
        self,
        split: Split,
        root: Path | None = None,
        train: str | Sequence[str] = "*train*.tar",
        val: str | Sequence[str] | None = "*val*.tar",
        label: str | None = "cls",
        classes: Annotated[int, Field(ge=1)] | Sequence[str] | None = None,
        images: Counts = {},  # noqa: B006  (not changed)
        shuffle_buffer: Annotated[int, Field(ge=1)] = 1000,
    ) -> None:
        _library()
        pattern = train if split == "train" else val
        if pattern is None:
            raise NoSuchSplit("the data set has no val split (data.dataset.val is null)")
        names = class_list(classes) if label else ["image"]
        patterns = [pattern] if isinstance(pattern, str) else pattern
        shards = [shard for each in patterns for shard in _shards(root, each, split)]
        super().__init__(split, shards, images, names, shuffle_buffer)
        self._label = label
        self._numbers = {name: number for number, name in enumerate(names)}
        self.read_one()

    def read_shard(self, shard: int) -> Iterator[tuple[Opener, int]]:
        """See `StreamedImages`."""
        source = self.shards[shard]
        try:
            for sample in _library().tariterators.tarfile_samples([{"url": source}]):
                image = next((sample[end[1:]] for end in IMG_EXTENSIONS if end[1:] in sample), None)
                if image is not None:
                    yield partial(BytesIO, image), self._class(sample, source)
        except UserError:
            raise
        except Exception as error:  # of the library, of what it calls or of the network
            reason = " ".join(str(part) for part in error.args[:1]) or type(error).__name__
            raise UserError(
                f"the shard {source} cannot be read ({reason}); it should be a tar file that "
                "can be reached; the run can be resumed then"
            ) from error

    def _class(self, sample: dict[str, Any], source: str) -> int:
        """The class of a sample."""
        if self._label is None:
            return 0
        suffix, _, field = self._label.partition(".")
        place = f"{source}/{sample['__key__']}"
        label = label_text(sample[suffix], field, f"{place}.{suffix}") if suffix in sample else b""
        if not label:
            there = ", ".join(sorted(name for name in sample if not name.startswith("_")))
            raise UserError(
                f"{place} has no label {self._label} (files of the sample: {there}); correct "
                "data.dataset.label, or set it to null to go without labels"
            )
        return class_number(label.decode(), self._numbers, place)


def _library() -> Any:
    return from_extra("webdataset", "data=webdataset_stream", "webdataset")


def _shards(root: Path | None, pattern: str, split: Split) -> list[str]:
    """The shards that a pattern, a URL or a command names."""
    if "://" in pattern or pattern.startswith("pipe:"):
        return [*expanded(pattern)]
    if root is None:
        raise UserError(
            f"data.root is not set; give the folder that holds the shards {pattern}, or set "
            f"data.dataset.{split} to their URLs"
        )
    return [str(shard) for shard in shards_below(root, pattern, split)]
