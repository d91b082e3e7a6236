"""Batches of images that are streamed: who reads what, in which order, and where to resume."""

import logging
from collections.abc import Iterator
from functools import partial
from itertools import count, islice, repeat
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch.utils.data import IterableDataset, get_worker_info

from cast_exp.data.datasets.streamed import Encoded, StreamedImages
from cast_exp.data.loader import BatchLoader, ResumableLoader
from cast_exp.data.samples import Samples
from cast_exp.data.sampling import EpochSampler
from cast_exp.errors import UserError, listing

log = logging.getLogger(__name__)

Item = TypeVar("Item")


class Draw(NamedTuple):
    """A view of an image, or several.

    Attributes:
        epoch: When it is seen.
        number: Which image.
        copy: Which of its copies in this epoch.
    """

    epoch: int
    number: int
    copy: int


class StreamOrder(Protocol):
    """What each worker of a rank draws."""

    def draws(self, stream: StreamedImages, worker: int, workers: int) -> Iterator[Draw]:
        """The draws of a worker, of that many."""
        ...


class FixedOrder:
    """Every image once, or the first ones.

    Args:
        rank: Whose share; of all ranks each image is on one.
        ranks: Number of ranks.
        limit: At most that many images of all, the first.
    """

    def __init__(self, rank: int, ranks: int, limit: int | None) -> None:
        self.rank = rank
        self.ranks = ranks
        self.limit = limit

    def draws(self, stream: StreamedImages, worker: int, workers: int) -> Iterator[Draw]:
        """See `StreamOrder`."""
        reader, readers = worker * self.ranks + self.rank, workers * self.ranks
        if self.limit is None:
            images = stream.share(reader, readers)
        else:  # of which few shards hold all
            images = islice(stream.share(0, 1), reader, self.limit, readers)
        return (Draw(0, number, 0) for number in stream.passing(images))


class EpochOrder:
    """A rank's batches of an epoch, in training.

    The shards are permuted by (seed, epoch) and shared out among the workers of all ranks. Each
    worker reads its shards one after the other, holds as many images as its buffer takes and draws
    the next from these. Worker w of W makes batches w, w + W, ... of its rank. All make as many,
    whatever is in their shards: one whose shards are read begins with them again, in another order.

    Args:
        order: Says how many batches there are, which is the next and what the seed is.
    """

    def __init__(self, order: EpochSampler) -> None:
        self.order = order
        self._next = torch.zeros(2, dtype=torch.int64)
        self._next.share_memory_()  # type: ignore[no-untyped-call]  # workers live for epochs

    def begin(self) -> None:
        """Tell the workers which epoch is next, and at which batch it begins."""
        self._next.copy_(torch.tensor([self.order.epoch, self.order.start]))

    def draws(self, stream: StreamedImages, worker: int, workers: int) -> Iterator[Draw]:
        """See `StreamOrder`."""
        order = self.order
        epoch, start = self._next.tolist()
        worker = (worker + start) % workers  # the first worker is the first to be asked
        size = order.batch_size // order.ranks
        done, wanted = (
            sum(min(size, len(order) - batch * size) for batch in range(worker, end, workers))
            for end in (start, -(-len(order) // size))
        )
        reader, readers = worker * order.ranks + order.rank, workers * order.ranks
        images = shuffled(stream, (order.seed, epoch), reader, readers)
        draws = (
            Draw(epoch, number, copy)
            for number in stream.passing(images)
            for copy in range(order.repeats)
        )
        return islice(draws, done, wanted)


def shuffled(
    stream: StreamedImages, key: tuple[int, int], reader: int, readers: int
) -> Iterator[Encoded]:
    """A reader's images in random order, again and again; all images if its share has none.

    Args:
        stream: The images.
        key: What the order depends on besides the readers: (seed, epoch).
        reader: Which reader.
        readers: How many there are.

    Raises:
        UserError: There is no image.
    """
    shards, own = np.random.default_rng(key).permutation(len(stream.shards)), reader
    for turn in count():
        draws = np.random.default_rng([*key, own, turn])
        images = stream.share(reader, readers, shards.tolist())
        first = None
        for first in mixed(images, stream.shuffle_buffer, draws):
            yield first
        if first is None and readers == 1:
            raise UserError(f"there are no images in {listing(stream.shards, 3)}")
        if first is None:
            reader, readers = 0, 1
        shards[reader::readers] = draws.permutation(shards[reader::readers])


def mixed(items: Iterator[Item], size: int, draws: np.random.Generator) -> Iterator[Item]:
    """Items in a random order: each next one is drawn from a buffer of that many."""
    buffer: list[Item] = []
    for item in items:
        buffer.append(item)
        if len(buffer) >= size:
            place = int(draws.integers(len(buffer)))
            buffer[place], buffer[-1] = buffer[-1], buffer[place]
            yield buffer.pop()
    for place in draws.permutation(len(buffer)):
        yield buffer[place]


class StreamSamples(IterableDataset[dict[str, Any]]):
    """The items of `Samples` over images that are streamed.

    An item is a pure function of its draw. An image that cannot be read is replaced by one that
    passed shortly before it, in training.

    Args:
        samples: Makes the items.
        stream: The images of the samples.
        order: What to draw.
    """

    def __init__(self, samples: Samples, stream: StreamedImages, order: StreamOrder) -> None:
        self.samples = samples
        self.attempts = samples.attempts
        self.stream = stream
        self.order = order

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        try:
            for epoch, number, copy in self.order.draws(self.stream, worker, workers):
                make = partial(self._views, epoch, number, copy)
                others = self.stream.others(number)[: self.attempts - 1]
                yield self.samples.first_of(number, others, make)
        except UserError as error:
            nothing = self.samples.nothing | {"index": -1, "unreadable": []}
            yield from repeat(nothing | {"error": str(error)})  # so that no batch is left out

    def _views(
        self, epoch: int, number: int, copy: int, raw: dict[str, Any], _chosen: int
    ) -> dict[str, Any]:
        return self.samples.views_of(raw, epoch, number, copy)


class StreamLoader(ResumableLoader):
    """Batches of images that are streamed, in training; see `EpochOrder`.

    To resume inside an epoch, each worker reads again, without decoding, what it has read of it.
    That is exact with the same number of ranks and workers.

    Args:
        samples: Makes the items.
        sampler: Says how many batches an epoch has.
        trainer: See `ResumableLoader`.
        stream: The images of the samples.
        options: Further arguments of `BatchLoader`.
    """

    def __init__(
        self,
        samples: Samples,
        sampler: EpochSampler,
        trainer: Trainer | None,
        stream: StreamedImages,
        **options: Any,
    ) -> None:
        super().__init__(sampler, trainer)
        self.dataset = samples
        self.sampler = sampler  # here Lightning looks for what it tells the epoch
        self.order = EpochOrder(sampler)
        self.batch_size: int = options["batch_size"]
        self.loader = BatchLoader(StreamSamples(samples, stream, self.order), None, **options)
        self.readers = max(options["workers"], 1) * sampler.ranks
        if sampler.rank == 0:
            _tell_of_shares(len(stream.shards), self.readers)

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def batches(self) -> Iterator[dict[str, Any]]:
        """The batches from the sampler's next iteration."""
        self.order.begin()
        return iter(self.loader)

    def state_dict(self) -> dict[str, int]:
        """See `ResumableLoader`; and how many readers shared out the shards."""
        return super().state_dict() | {"readers": self.readers}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """See `ResumableLoader`."""
        readers = state.get("readers", self.readers)
        if state["batch"] and readers != self.readers:
            log.warning(
                "%d readers (workers of all devices) share out the stream, %d before: until the "
                "epoch ends some images are seen twice and others not at all",
                self.readers,
                readers,
            )
        super().load_state_dict({"epoch": state["epoch"], "batch": state["batch"]})


def _tell_of_shares(shards: int, readers: int) -> None:
    if shards < readers:
        log.warning(
            "%d readers (workers of all devices) read %d shards, some of them several times: fewer "
            "data.workers, or more and smaller shards, read less",
            readers,
            shards,
        )
    elif shards % readers:
        log.warning(
            "%d shards cannot be shared out equally among %d readers (workers of all devices): in "
            "an epoch some images are seen twice and others not at all",
            shards,
            readers,
        )
