"""Images in shards that are made as they are read."""

from collections.abc import Iterator
from functools import partial
from io import BytesIO
from typing import Any

from PIL import Image

from cast_exp.data.datasets import Split
from cast_exp.data.datasets.streamed import Opener, StreamedImages

PLACES = 1 << 32  # numbers of a shard


def grey(value: int, damaged: bool) -> BytesIO:
    file = BytesIO()
    Image.new("L", (8, 8), value).save(file, "PNG")
    return BytesIO(file.getvalue()[: 20 if damaged else None])


class Greys(StreamedImages):
    """Image n, in the order of the shards, is of the grey value n and of class n % 3.

    Args:
        split: Of either there are the same images.
        sizes: Images of each shard.
        damaged: Images that cannot be decoded.
        buffer: Images to draw from in training.
    """

    def __init__(
        self,
        split: Split = "train",
        sizes: tuple[int, ...] = (4, 4, 4, 4),
        damaged: tuple[int, ...] = (),
        buffer: int = 3,
    ) -> None:
        names = [f"shard{number}" for number in range(len(sizes))]
        super().__init__(split, names, {split: sum(sizes)}, [*"abc"], buffer)
        self.sizes = sizes
        self.damaged = damaged
        self.opened: list[str] = []

    def read_shard(self, shard: int) -> Iterator[tuple[Opener, int]]:
        self.opened.append(self.shards[shard])
        for value in range(sum(self.sizes[:shard]), sum(self.sizes[: shard + 1])):
            yield partial(grey, value, value in self.damaged), value % 3

    def values(self, numbers: list[int]) -> list[int]:
        """The grey values of images by their numbers."""
        return [sum(self.sizes[: n // PLACES]) + n % PLACES for n in numbers]


def all_values(stream: Greys) -> list[int]:
    return [*range(sum(stream.sizes))]


def shown(item: dict[str, Any]) -> tuple[int, int]:
    return item["image"].getpixel((0, 0)), item["label"]
