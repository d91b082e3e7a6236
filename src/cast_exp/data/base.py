"""What the data modules share: raw datasets, unreadable files, ranks, workers and orders."""

import inspect
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from math import inf
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray

from cast_exp.data.datasets.base import RawDataset, Split
from cast_exp.data.datasets.images import RGBItems, ValueRange
from cast_exp.data.datasets.streamed import StreamedImages
from cast_exp.data.file_states import file_states
from cast_exp.data.loader import TrainLoader, UnreadableFiles
from cast_exp.data.samples import KeyedSamples, Samples
from cast_exp.data.sampling import EpochSampler, FixedSampler
from cast_exp.data.streams import StreamLoader
from cast_exp.download.records import cache_dir
from cast_exp.errors import UserError
from cast_exp.superpixels import CachedSuperpixels, SuperpixelMethod

log = logging.getLogger(__name__)

_MOST_WORKERS = 16
_TOLERATED = 10


class RawDataModule(LightningDataModule, ABC):
    """Raw datasets of two splits, and the loaders over them.

    Args:
        dataset: Called with `split` (and `root` if that is set and it takes one) for a raw dataset.
        superpixel: The superpixel method.
        cache_superpixels: Keep the superpixels that loader workers compute of images as they are,
            without augmentation, in `$CAST_EXP_CACHE/superpixels`; see `CachedSuperpixels`.
        root: Folder of the data set; None, or not used, for generated data.
        batch_size: Images per step over all devices.
        workers: Loader processes per device; `auto` shares the cores this process may use among
            the devices of the node, at most 16 each; 0 loads in the main process.
        prefetch: Batches (or single scenes) that each worker works ahead.
        drop_last: Leave out the last, incomplete batch of an epoch.
        max_unreadable: Share of unreadable files above which the run stops; up to 10 files are let
            pass in any case, unless it is 0.
        value_range: Values that become black and white in images of other than 8 bits; None: those
            of the type, of floats within 0..1 these. See `cast_exp.data.datasets.images`.
        expected_images: Published number of images of each split; another number is reported.
        seed: Seed of all randomness of the data.
    """

    holds: ClassVar[str]
    """What the data are, in words."""

    def __init__(
        self,
        dataset: Callable[..., RawDataset],
        superpixel: SuperpixelMethod,
        cache_superpixels: bool,
        root: Path | None,
        batch_size: int,
        workers: int | Literal["auto"],
        prefetch: int,
        drop_last: bool,
        max_unreadable: float,
        value_range: ValueRange | None,
        expected_images: Mapping[Split, int] | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.superpixel = superpixel
        self.plain_superpixel = superpixel
        if cache_superpixels:
            self.plain_superpixel = CachedSuperpixels(superpixel, cache_dir() / "superpixels")
        self.root = None if root is None else Path(root).expanduser()
        if self.root is not None and not _takes_root(dataset):
            _tell_of_unused(self.root)
            self.root = None
        self.batch_size = batch_size
        self.workers = workers
        self.prefetch = prefetch
        self.drop_last = drop_last
        self.max_unreadable = max_unreadable
        if value_range is not None and not -inf < value_range[0] < value_range[1] < inf:
            raise UserError(
                f"data.value_range={[*value_range]}: the first value becomes black, the second "
                "white, which should be the higher"
            )
        self.value_range = value_range
        self.expected_images = dict(expected_images or {})
        self.seed = seed
        self._raw: dict[Split, RawDataset] = {}
        self._files: dict[Split, str] = {}
        self._unreadable: dict[Split, UnreadableFiles] = {}

    # -- what there is ---------------------------------------------------------------------------

    def raw(self, split: Split) -> RawDataset:
        """The raw dataset of a split; it is built once.

        Raises:
            UserError: Missing data or a wrong layout.
        """
        if split not in self._raw:
            root = {} if self.root is None else {"root": self.root}
            dataset = self._raw[split] = self.dataset(split=split, **root)
            tolerated = max(_TOLERATED, int(self.max_unreadable * len(dataset)))
            self._unreadable[split] = UnreadableFiles(tolerated if self.max_unreadable else 0)
        return self._raw[split]

    def _rgb(self, split: Split) -> RGBItems:
        """The raw dataset of a split with its images brought to 8-bit RGB."""
        return RGBItems(self.raw(split), self.value_range)

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        return self.raw("train").classes

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def unreadable(self) -> dict[str, str]:
        """Path and reason of every file found unreadable so far, in this process."""
        return {k: v for found in self._unreadable.values() for k, v in found.files.items()}

    def held_out(self, split: Split = "train") -> list[str]:
        """Names of the training images that validate instead; a split tells as well as the other.

        Raises:
            UserError: Missing data or a wrong layout.
        """
        names: list[str] = getattr(self.raw(split), "held_out", [])
        return names

    def count(self, split: Split) -> tuple[int, int]:
        """Images of a split as it was published: how many there are, and how many there should be.

        Images that are held out count as the training images that they were published as.
        """
        here, held_out = len(self.raw(split)), len(self.held_out(split))
        if split == "val" and held_out:
            return here, here
        here += held_out
        return here, self.expected_images.get(split, here)

    def require_a_batch(self) -> None:
        """Make sure that an epoch has a batch.

        Raises:
            UserError: Missing data, or fewer images than a batch has.
        """
        images = len(self.raw("train"))
        if self.drop_last and images < self.batch_size:
            raise UserError(
                f"data.batch_size={self.batch_size} is more than the {images} training images, "
                f"so an epoch has no batch; set data.batch_size to {images} or less"
            )

    @abstractmethod
    def first_superpixels(self, split: Split) -> int | None:
        """Superpixels of the first image as a model is told, in training or (`val`) evaluation.

        None if no image of many can be read.
        """

    @abstractmethod
    def prepare(self, batch: Mapping[str, Any], device: torch.device | str) -> dict[str, Any]:
        """Finish a batch of a loader on a device."""

    def identity(self, split: Split) -> dict[str, Any]:
        """What tells the images of a split and their superpixels from others, in plain values.

        Of files these are names, sizes and modification times, as they are when first asked for.
        """
        raw = self.raw(split)
        if split not in self._files:
            files: Callable[[], Iterable[str]] | None = getattr(raw, "files", None)
            paths = files() if files else map(raw.path, range(len(raw)))
            self._files[split] = file_states(paths)
        return {
            "split": split,
            "images": len(raw),
            "files": self._files[split],
            "dataset": str(self.dataset),
            "root": str(self.root),
            "value_range": self.value_range,
            "superpixel": str(self.superpixel),
        }

    # -- Lightning -------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Build the training set on one process per node first, in case it is downloaded."""
        self.raw("train")

    def setup(self, stage: str) -> None:
        """Check that the batch suits the devices and the data."""
        if stage == "fit":
            images, expected = self.count("train")
            if images != expected:
                log.warning("%d training images, expected %d", images, expected)
            local_batch_size(self.batch_size, self._ranks)
            self.require_a_batch()

    def teardown(self, stage: str) -> None:
        """Sum up the unreadable files."""
        if self.unreadable:
            log.warning("%d unreadable images were left out", len(self.unreadable))

    def chosen(self, split: Split, limit: int | None = None) -> NDArray[np.int64]:
        """Numbers of all images of a split in ascending order, or of a random but fixed choice.

        Those of a stream are read from its beginning; the choice is its first images.
        """
        if isinstance(raw := self.raw(split), StreamedImages):
            return np.array(raw.numbers(limit))
        indices = np.arange(len(raw))
        if limit is not None and limit < len(indices):
            indices = np.sort(np.random.default_rng(0).permutation(indices)[:limit])
        return indices

    # -- for the loaders -------------------------------------------------------------------------

    def _train_loader(self, samples: KeyedSamples, repeats: int = 1) -> TrainLoader | StreamLoader:
        """This rank's share of every batch of the training images, in the order of the epoch."""
        ranks = self._ranks
        sampler = EpochSampler(
            len(samples), self.batch_size, self.seed, self._rank, ranks, self.drop_last, repeats
        )
        options = {
            "batch_size": local_batch_size(self.batch_size, ranks),
            "unreadable": self._unreadable["train"],
            "drop_last": self.drop_last,
            **self._options(persistent=True),
        }
        stream = self.raw("train")
        if isinstance(stream, StreamedImages) and isinstance(samples, Samples):
            return StreamLoader(samples, sampler, self.trainer, stream, **options)
        return TrainLoader(samples, sampler, self.trainer, **options)

    def _fixed_order(self, split: Split, limit: int | None, shared: bool) -> FixedSampler:
        """What is `chosen`, or this rank's share of it."""
        indices = self.chosen(split, limit)
        return FixedSampler(indices[self._rank :: self._ranks] if shared else indices)

    def _options(self, persistent: bool = False) -> dict[str, Any]:
        """How batches are loaded; with `persistent` workers live as long as the loader."""
        on_cuda = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        anew = on_cuda and not self.superpixel.forks
        return {
            "workers": self._workers,
            "prefetch_factor": self.prefetch if self._workers else None,
            "persistent_workers": persistent and self._workers > 0,
            "multiprocessing_context": "spawn" if anew and self._workers else None,
            "pin_memory": on_cuda,
        }

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _ranks(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    @property
    def _workers(self) -> int:
        if self.workers != "auto":
            return self.workers
        devices = self.trainer.num_devices if self.trainer else 1
        return min(max(available_cores() // devices, 1), _MOST_WORKERS)


def _takes_root(dataset: Callable[..., RawDataset]) -> bool:
    """Whether there is an argument of that name, or any may be given."""
    parameters = inspect.signature(dataset).parameters
    return "root" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


@cache  # once, however many data modules a run has for its evaluations
def _tell_of_unused(root: Path) -> None:
    log.info("the root %s is not used: these data are generated, not read from a folder", root)


def local_batch_size(batch_size: int, ranks: int) -> int:
    """Images per device.

    Raises:
        UserError: The devices cannot share the batch equally; names the nearest sizes that fit.
    """
    if batch_size % ranks:
        below = batch_size // ranks * ranks
        nearest = f"{below} or {below + ranks}" if below else str(ranks)
        raise UserError(
            f"data.batch_size={batch_size} is the batch over all devices and cannot be shared by "
            f"{ranks}; the nearest that can: {nearest}"
        )
    return batch_size // ranks


def available_cores() -> int:
    """Cores that this process may use (fewer than the machine's under SLURM or taskset)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
