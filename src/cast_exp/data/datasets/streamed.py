"""Images that come one after the other out of shards, which are only read from their beginning."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Annotated, Any, BinaryIO, NamedTuple

from pydantic import Field
from torch.utils.data import Dataset

from cast_exp.data.datasets.base import Split, readable
from cast_exp.data.datasets.images import decode_image
from cast_exp.errors import UserError

Opener = Callable[[], BinaryIO]
"""Opens the file of an image."""

Counts = Mapping[Split, Annotated[int, Field(ge=1)] | None]
"""Images of each split."""

_SPAN = 1 << 32  # numbers of a shard
_KEPT = 16


class Encoded(NamedTuple):
    """An image of a stream, not decoded yet.

    Attributes:
        number: Its number in the data set: that of its shard and its place there.
        open: Opens its file.
        label: Number of its class.
    """

    number: int
    open: Opener
    label: int


class StreamedImages(Dataset[dict[str, Any]], ABC):
    """A `RawDataset` of shards that are read in the order of their images, each by one reader.

    The numbers of images do not follow each other, as nobody knows how many a shard has: image `i`
    of shard `s` has the number 2^32 s + i. Images are fast to get while they `pass`; any other is
    looked for from the beginning of its shard.

    Args:
        split: ``train`` or ``val``.
        shards: Their names.
        images: How many images each split has, which no stream tells.
        classes: Names of the classes in the order of the labels.
        shuffle_buffer: Images that each reader holds, in training, to draw the next from.

    Raises:
        UserError: The number of images is not told.
    """

    def __init__(
        self,
        split: Split,
        shards: Sequence[str],
        images: Counts,
        classes: list[str],
        shuffle_buffer: int,
    ) -> None:
        told = images.get(split)
        if told is None:
            raise UserError(
                f"data.dataset.images.{split} is not set; a stream does not tell how many images "
                "it has: set their number, or any, and cast-exp check counts them"
            )
        self.classes = classes
        self.shards = shards
        self.shuffle_buffer = shuffle_buffer
        self._length = told
        self._passing: dict[int, Encoded] = {}

    @abstractmethod
    def read_shard(self, shard: int) -> Iterator[tuple[Opener, int]]:
        """Read the images of a shard, from the first on, with their labels.

        Raises:
            UserError: The shard cannot be read, or an image has no label.
        """

    def read_one(self) -> None:
        """Read the first image, as what is wrong with labels would else be told in training.

        Raises:
            UserError: See `read_shard`.
        """
        next(self.read_shard(0), None)

    def __len__(self) -> int:
        """The number of images that was told."""
        return self._length

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self.read(number, decode_image)

    def read(self, number: int, decode: Callable[[BinaryIO], Any]) -> dict[str, Any]:
        """See `RawDataset`."""
        image = self._passing.get(number) or self._found(number)
        with readable(self.path(number)), image.open() as file:
            return {"image": decode(file), "label": image.label}

    def path(self, number: int) -> str:
        """What stands for the file of an image."""
        shard, place = divmod(number, _SPAN)
        return f"{self.shards[shard]}, image {place}"

    def files(self) -> Sequence[str]:
        """The shards."""
        return self.shards

    def numbers(self, limit: int | None = None) -> list[int]:
        """Those of the first images, or of all, which reads as far."""
        return [image.number for image in islice(self.share(0, 1), limit)]

    def share(
        self, reader: int, readers: int, order: Sequence[int] | None = None
    ) -> Iterator[Encoded]:
        """The images that one of many readers reads: those of every `readers`-th shard.

        Where there are fewer shards than readers, several read a shard and take its images in turn.

        Args:
            reader: Which reader.
            readers: How many there are.
            order: The shards to share out, in their order; by default all.
        """
        order = range(len(self.shards)) if order is None else order
        first, turn = reader % len(order), reader // len(order)
        turns = len(range(first, readers, len(order)))
        for shard in order[first::readers]:
            for place, (opener, label) in enumerate(self.read_shard(shard)):
                if place % turns == turn:
                    yield Encoded(shard * _SPAN + place, opener, label)

    def passing(self, images: Iterable[Encoded]) -> Iterator[int]:
        """The numbers of images in their order; while they pass, their items are had by number.

        That is true of the number that was handed out last and of those before it, 16 in all; at
        the beginning, of the first 16.
        """
        ahead = iter(images)
        first = list(islice(ahead, _KEPT))
        kept = deque(first, _KEPT)
        for image in chain(first, ahead):
            kept.append(image)
            self._passing = {held.number: held for held in kept}
            yield image.number

    def others(self, number: int) -> list[int]:
        """Numbers of the images that pass with this one, the last first."""
        return [other for other in reversed(self._passing) if other != number]

    def _found(self, number: int) -> Encoded:
        shard, place = divmod(number, _SPAN)
        found = next(islice(self.read_shard(shard), place, None), None)
        if found is None:
            raise UserError(f"{self.shards[shard]} has fewer images than before: no {place}")
        return Encoded(number, *found)


def class_list(classes: int | Sequence[str] | None) -> list[str]:
    """Names of the classes that were told.

    Raises:
        UserError: None were.
    """
    if classes is None:
        raise UserError(
            "data.dataset.classes is not set; set the number of classes, or a list of their names "
            "as the labels have them; data.dataset.label=null goes without"
        )
    return [*map(str, range(classes) if isinstance(classes, int) else classes)]


def class_number(label: Any, classes: Mapping[str, int], place: str) -> int:
    """The number of a class.

    Args:
        label: A name, or a number as such or as text.
        classes: The number of each name.
        place: Where it stands, for messages.

    Raises:
        UserError: There is no such class.
    """
    number = classes.get(str(label))
    if number is None:
        last = f"{len(classes)} classes of data.dataset.classes"
        raise UserError(f"{place} has the label {label!r}, which is none of the {last}")
    return number
