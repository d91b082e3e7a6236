"""The loader of batches: resumable inside an epoch, and watchful about unreadable files."""

import atexit
import logging
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from types import TracebackType
from typing import Any, Protocol, cast

import cv2
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LambdaCallback
from torch.utils.data import DataLoader, Dataset, Sampler

from cast_exp.data.samples import KeyedSamples, collate
from cast_exp.data.sampling import EpochSampler, Key
from cast_exp.distributed.signals import STOPS
from cast_exp.errors import UserError

log = logging.getLogger(__name__)

_LISTED = 20

# OpenCV's thread pool does not survive a fork: a worker would wait for its threads for ever. It
# must never start in the process that forks; images of this size gain nothing from it.
cv2.setNumThreads(1)


class UnreadableFiles:
    """Counts the distinct files that could not be read; each is reported once.

    Args:
        limit: How many are let pass.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.files: dict[str, str] = {}
        """Path to reason."""

    def add(self, files: Iterable[tuple[str, str]]) -> None:
        """Take note of (path, reason) pairs.

        Raises:
            UserError: More files than the limit, with the first of them.
        """
        for path, reason in files:
            if path not in self.files:
                self.files[path] = reason
                log.warning("unreadable image left out: %s (%s)", path, reason)
        if len(self.files) > self.limit:
            raise self.error()

    def error(self) -> UserError:
        """The message that ends a run, with the list."""
        lines = [f"{path} ({reason})" for path, reason in self.files.items()]
        if len(lines) > _LISTED:
            lines[_LISTED:] = ["..."]
        summary = (
            f"{len(self.files)} images cannot be read; {self.limit} are tolerated "
            "(data.max_unreadable). Repair or remove them (cast-exp check lists all):"
        )
        return UserError("\n  ".join([summary, *lines]))


class Items(Protocol):
    """:class:`KeyedSamples`, or an iterable dataset of their items."""

    attempts: int


class KeyedLoader(DataLoader[Any]):
    """A torch ``DataLoader`` over :class:`KeyedSamples` that reports unreadable files.

    They are taken note of in the main process, before the item or batch is handed out.

    Args:
        samples: What to load.
        sampler: Order of the samples; None if they come in an order of their own.
        unreadable: Where unreadable files are counted.
        workers: Processes; 0 loads in this one.
        options: Further arguments of torch's ``DataLoader``.
    """

    def __init__(
        self,
        samples: Items,
        sampler: Sampler[Key] | None,
        unreadable: UnreadableFiles,
        workers: int,
        **options: Any,
    ) -> None:
        options |= {"num_workers": workers, "worker_init_fn": start_worker}
        super().__init__(cast(Dataset[Any], samples), sampler=sampler, **options)
        self.unreadable = unreadable

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        with signals_wait():
            found = super().__iter__()
        for item in found:
            self.unreadable.add(item.pop("unreadable"))
            if error := item.pop("error"):
                raise UserError(error)
            yield item


class BatchLoader(KeyedLoader):
    """Batches of ``collate`` less its bookkeeping; one without a readable image is left out.

    See :class:`KeyedLoader` for the arguments; ``batch_size`` is that of this rank.
    """

    def __init__(self, samples: Items, sampler: Sampler[Key] | None, **options: Any) -> None:
        super().__init__(samples, sampler, collate_fn=collate, **options)
        self.replaces = samples.attempts > 1

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        for batch in super().__iter__():
            if batch.pop("lost") and self.replaces:
                raise self.unreadable.error()  # no image in many attempts: most are bad
            if len(batch["index"]):
                yield batch


class ResumableLoader(ABC):
    """Batches in the order of an :class:`EpochSampler` that can be resumed inside an epoch.

    Its state is (epoch, batches trained on). Lightning saves it with a checkpoint and loads it
    before the first epoch of a resumed run, which then goes on with the next batch without
    reading those before it.

    Args:
        order: Order of the samples.
        trainer: Gets a callback that counts the batches, before its others, as they may save;
            without one nothing is counted.
    """

    def __init__(self, order: EpochSampler, trainer: Trainer | None) -> None:
        self._order = order
        self._state = {"epoch": 0, "batch": 0}
        if trainer is not None:
            counter = LambdaCallback(on_train_batch_end=self._count)
            trainer.callbacks.insert(0, counter)  # type: ignore[attr-defined]

    @abstractmethod
    def batches(self) -> Iterator[dict[str, Any]]:
        """The batches from the sampler's next iteration."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # A generator, hence lazy: when a run is resumed, Lightning asks for this iterator before
        # it tells the sampler which epoch it is.
        begun = self._state["epoch"] == self._order.epoch
        self._order.start = self._state["batch"] if begun else 0
        yield from self.batches()

    def state_dict(self) -> dict[str, int]:
        """The epoch and how many of its batches were trained on."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there, if the next iteration is over the same epoch."""
        self._state = dict(state)

    def _count(self, _trainer: Any, _module: Any, _outputs: Any, _batch: Any, number: int) -> None:
        self._state = {"epoch": self._order.epoch, "batch": number + 1}


class TrainLoader(ResumableLoader, BatchLoader):  # type: ignore[misc]
    """A :class:`BatchLoader` that is a :class:`ResumableLoader`; see these for the arguments."""

    def __init__(
        self, samples: KeyedSamples, sampler: EpochSampler, trainer: Trainer | None, **options: Any
    ) -> None:
        BatchLoader.__init__(self, samples, sampler, **options)
        ResumableLoader.__init__(self, sampler, trainer)

    def batches(self) -> Iterator[dict[str, Any]]:
        """The batches from the sampler's next iteration."""
        return BatchLoader.__iter__(self)


WORKERS: set[Any] = set()
"""Processes that loaders of this process have started."""


@contextmanager
def signals_wait() -> Iterator[None]:
    """Let signals that stop the run wait while workers are started.

    Python forgets one that comes amid a fork, and a worker that does not ignore it yet would die.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone handles signals
        yield
        return
    came: list[int] = []
    before = set(active_children())
    handlers = {n: signal.signal(n, lambda number, _: came.append(number)) for n in STOPS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
        WORKERS.update(set(active_children()) - before)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


def start_worker(_worker: int) -> None:
    """Prepare a worker process: one thread, and deaf to signals to the whole run."""
    signal.set_wakeup_fd(-1)  # that of the main process, which ends its workers
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _report_unless_cut_off
    torch.set_num_threads(1)


def _end_workers() -> None:
    """Before multiprocessing asks those that are left over with a signal that they ignore."""
    left = WORKERS.intersection(active_children())
    if left:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise an error
    for process in left:
        process.kill()


atexit.register(_end_workers)


def _report_unless_cut_off(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an exception of a worker's thread, unless the main process has gone while it read."""
    if not issubclass(kind, ConnectionError):
        sys.__excepthook__(kind, error, trace)
