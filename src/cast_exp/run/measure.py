"""What the parts of training cost on this machine: seconds of a core, seconds of a step."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from cast_exp.data.base import RawDataModule
from cast_exp.data.datasets.base import RawDataset, UnreadableImage
from cast_exp.data.datasets.streamed import StreamedImages
from cast_exp.data.samples import KeyedSamples, collate
from cast_exp.errors import UserError
from cast_exp.run.build import build
from cast_exp.run.trainer import attach, build_trainer, fit
from cast_exp.superpixels import SuperpixelMethod
from cast_exp.tasks import BaseTask

_FEWEST = 8
"""Images at least, after one that is not timed."""
_EPOCH = 10_000
"""Steps: more than are ever measured."""

Item = dict[str, Any]


@dataclass(frozen=True)
class CoreSeconds:
    """What an image costs one core of a loader, in seconds; all its views together.

    Attributes:
        decode: Reading the file and decoding it.
        augment: Making the views.
        superpixels: Their superpixels; 0 where the device makes them.
    """

    decode: float
    augment: float
    superpixels: float

    @property
    def total(self) -> float:
        """All three."""
        return self.decode + self.augment + self.superpixels


def core_seconds(data: RawDataModule, seconds: float) -> tuple[CoreSeconds, list[Item]]:
    """Make samples of randomly chosen training images, one after the other, on one core.

    Args:
        data: With superpixels on workers or on the device.
        seconds: How long.

    Returns:
        The mean cost, and the samples that were made last.

    Raises:
        UserError: Missing data, or no image that can be read.
    """
    samples: Any = data.train_dataloader().dataset
    spent, made = np.zeros(3), 0
    items: list[Item] = []
    timed = _Timed(samples.superpixel) if samples.superpixel else None
    samples.superpixel = timed
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        began = perf_counter()
        for index in _numbers(data.raw("train")):
            with suppress(UnreadableImage):
                parts, item = _make(samples, index, timed)
                items = [*items[1 - _FEWEST :], item]
                made += 1
                spent = parts if made == 1 else spent + parts
                if made == 1:
                    spent, began = np.zeros(3), perf_counter()  # what is slow once
            if made > _FEWEST and perf_counter() - began > seconds:
                break
    finally:
        torch.set_num_threads(threads)
    if made < 2:
        raise UserError("fewer than two training images can be read; see cast-exp check")
    return CoreSeconds(*(spent / (made - 1)).tolist()), items


def _numbers(raw: RawDataset) -> Iterable[int]:
    """Numbers of images in random order, of a stream in its order."""
    if isinstance(raw, StreamedImages):
        return raw.passing(raw.share(0, 1))
    numbers: list[int] = np.random.default_rng(0).permutation(len(raw)).tolist()
    return numbers


def _make(samples: KeyedSamples, index: int, timed: "_Timed | None") -> tuple[Any, Item]:
    marks = [perf_counter()]
    raw = samples.dataset[index]
    marks.append(perf_counter())
    before = timed.seconds if timed else 0.0
    item = samples.make(raw, (0, index), index)
    marks.append(perf_counter())
    decode, make = np.diff(marks)
    superpixels = (timed.seconds if timed else 0.0) - before
    item |= {"index": index, "unreadable": [], "error": None}
    return np.array([decode, make - superpixels, superpixels]), item


class _Timed:
    """A superpixel method that adds up the seconds that it takes."""

    def __init__(self, method: SuperpixelMethod) -> None:
        self.method = method
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.method, name)

    def __call__(self, images: Tensor) -> Tensor:
        began = perf_counter()
        found = self.method(images)
        self.seconds += perf_counter() - began
        return found


@dataclass(frozen=True)
class Step:
    """What a training step costs a device.

    Attributes:
        batch: Images of the device.
        seconds: Of the step, data apart.
        gib: Peak memory of tensors in GiB; 0 on the CPU.
    """

    batch: int
    seconds: float
    gib: float


def time_step(
    config: Mapping[str, Any], data: RawDataModule, items: Sequence[Item], batch: int, limit: float
) -> Step:
    """Train on one batch again and again, on one device, and take the median step.

    Args:
        config: Nodes `task` and `trainer` of a run.
        data: Prepares the batch on the device. Its training loader is replaced.
        items: Samples, repeated until they fill the batch.
        batch: Images.
        limit: Seconds of steps, after one that is not counted; at least one step is.

    Raises:
        torch.OutOfMemoryError: The device cannot hold it.
    """
    found = collate([items[number % len(items)] for number in range(batch)])
    for name in ("unreadable", "error", "lost"):
        del found[name]
    same: Any = [found] * _EPOCH
    data.batch_size = batch
    data.train_dataloader = lambda: DataLoader(same, batch_size=None)  # type: ignore[method-assign]
    clock = _Clock(limit)
    alone = {"devices": 1, "strategy": "auto", "num_nodes": 1, "limit_val_batches": 0}
    quiet = {"enable_progress_bar": False, "enable_checkpointing": False}
    endless = {"limit_train_batches": 1.0, "max_steps": -1}
    trainer = build_trainer({**config["trainer"], **alone, **quiet, **endless}, [clock], {})
    task: BaseTask = build(config["task"])
    attach(trainer, task, data)
    device = trainer.strategy.root_device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    fit(trainer, task, data, None)
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    return Step(batch, median(clock.seconds[1:]), memory)


class _Clock(Callback):
    """Times steps, and stops after so many seconds of them."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.seconds: list[float] = []
        self._began = 0.0

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._began = self._now(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.seconds.append(self._now(trainer) - self._began)
        if len(self.seconds) > 1 and sum(self.seconds[1:]) > self.limit:
            trainer.should_stop = True

    def _now(self, trainer: Trainer) -> float:
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return perf_counter()
