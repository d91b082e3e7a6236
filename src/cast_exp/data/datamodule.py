"""The images of a run: loaders, and the last step from 8-bit batches to what a model takes."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from pydantic import Field
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from cast_exp.data.datasets.base import RawDataset, Split
from cast_exp.data.loader import BatchLoader, TrainLoader, UnreadableFiles
from cast_exp.data.samples import Samples
from cast_exp.data.sampling import EpochSampler, FixedSampler
from cast_exp.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Augmentation,
    Cover,
    Resize,
    Transform,
    evaluation_transform,
)
from cast_exp.errors import UserError
from cast_exp.superpixels import SuperpixelMethod

log = logging.getLogger(__name__)

_ATTEMPTS = 16
_MOST_WORKERS = 16
_TOLERATED = 10


class ImageDataModule(LightningDataModule):
    """Images with superpixels, as random views for training or plain for evaluation.

    The way of an image: a worker decodes it, makes the views and (by default) their superpixels
    and ships 8-bit pixels and 16-bit labels; :meth:`prepare` finishes the batch on its device.
    What an image looks like depends on (``seed``, epoch, index, view) only, and which images a
    step sees on (``seed``, epoch, ``batch_size``), never on the workers, the ranks or a resume.

    Args:
        dataset: Called with ``split`` (and ``root`` if that is set) for a raw dataset.
        views: Makes the views of training: two for contrasts, one for classes.
        superpixel: The superpixel method.
        root: Folder of the data set; None for generated data.
        batch_size: Images per step over all devices.
        image_size: Side of the images of the plain loaders in pixels.
        eval_crop: Share of the shorter side that the central crop of the plain loaders keeps:
            0.875 is a resize to 256 for a crop of 224, 1 no crop (for images that are small).
        eval_resize: How that resize interpolates.
        superpixels_on: ``worker`` computes superpixels in the loader's processes, ``device`` on the
            whole batch (only methods that run anywhere).
        workers: Loader processes per device; ``auto`` shares the cores this process may use among
            the devices of the node, at most 16 each; 0 loads in the main process.
        prefetch: Batches that each worker works ahead.
        drop_last: Leave out the last, incomplete batch of an epoch.
        repeats: Times that an epoch shows each of its images, in views of their own; it has that
            many times fewer images then (repeated augmentation; Hoffer et al., 2020).
        max_unreadable: Share of unreadable files above which the run stops; up to 10 files are let
            pass in any case, unless it is 0.
        expected_images: Published number of images of each split; another number is reported.
        seed: Seed of all randomness of the data.

    Raises:
        UserError: Superpixels on the device from a method of the CPU, or of views that are covered
            in part; from :meth:`setup`, missing data, a batch size that the devices cannot share or
            that exceeds the data.
    """

    def __init__(
        self,
        dataset: Callable[..., RawDataset],
        views: Augmentation,
        superpixel: SuperpixelMethod,
        root: Path | None = None,
        batch_size: Annotated[int, Field(ge=1)] = 256,
        image_size: Annotated[int, Field(ge=1)] = 224,
        eval_crop: Annotated[float, Field(gt=0, le=1)] = 0.875,
        eval_resize: Resize = "bilinear",
        superpixels_on: Literal["worker", "device"] = "worker",
        workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto",
        prefetch: Annotated[int, Field(ge=1)] = 2,
        drop_last: bool = True,
        repeats: Annotated[int, Field(ge=1)] = 1,
        max_unreadable: Annotated[float, Field(ge=0, le=1)] = 0.01,
        expected_images: Mapping[Split, int] | None = None,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__()
        if superpixels_on == "device" and superpixel.device == "cpu":
            raise UserError(
                f"{type(superpixel).__name__} superpixels run on the CPU only; set "
                "data.superpixels_on=worker, or choose superpixel=slic or superpixel=grid"
            )
        if superpixels_on == "device" and views.cover is not None:
            raise UserError(
                "superpixels on the device would outline what random erasing covers; set "
                "data.superpixels_on=worker or augmentation.erasing_probability=0"
            )
        self.dataset = dataset
        self.views = views
        self.superpixel = superpixel
        self.root = None if root is None else Path(root).expanduser()
        self.batch_size = batch_size
        self.image_size = image_size
        self.eval_crop = eval_crop
        self.eval_resize = eval_resize
        self.superpixels_on = superpixels_on
        self.workers = workers
        self.prefetch = prefetch
        self.drop_last = drop_last
        self.repeats = repeats
        self.max_unreadable = max_unreadable
        self.expected_images = dict(expected_images or {})
        self.seed = seed
        self._raw: dict[Split, RawDataset] = {}
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

    # -- Lightning -------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Build the training set on one process per node first, in case it is downloaded."""
        self.raw("train")

    def setup(self, stage: str) -> None:
        """Check that the batch suits the devices and the data."""
        if stage == "fit":
            images = len(self.raw("train"))
            if images != (expected := self.expected_images.get("train", images)):
                log.warning("%d training images, expected %d", images, expected)
            local_batch_size(self.batch_size, self._ranks)
            if self.drop_last and images < self.batch_size:
                raise UserError(
                    f"data.batch_size={self.batch_size} is more than the {images} training images, "
                    f"so an epoch has no batch; set data.batch_size to {images} or less"
                )

    def teardown(self, stage: str) -> None:
        """Sum up the unreadable files."""
        if self.unreadable:
            log.warning("%d unreadable images were left out", len(self.unreadable))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Finish a batch that Lightning has moved to its device."""
        return self.prepare(batch, batch["label"].device)

    # -- loaders ---------------------------------------------------------------------------------

    def train_dataloader(self) -> TrainLoader:
        """Views of each image, this rank's share of every batch, in the order of the epoch."""
        dataset = self.raw("train")
        ranks = self._ranks
        return TrainLoader(
            self._samples(dataset, self.views.transforms, _ATTEMPTS, self.views.cover),
            EpochSampler(
                len(dataset),
                self.batch_size,
                self.seed,
                self._rank,
                ranks,
                self.drop_last,
                self.repeats,
            ),
            self.trainer,
            batch_size=local_batch_size(self.batch_size, ranks),
            unreadable=self._unreadable["train"],
            drop_last=self.drop_last,
            persistent_workers=self._workers > 0,
            **self._options(),
        )

    def val_dataloader(self) -> BatchLoader:
        """This rank's share of the validation images, each image on one rank only."""
        batch_size = local_batch_size(self.batch_size, self._ranks)
        return self.plain_dataloader("val", batch_size=batch_size, shared=True)

    def plain_dataloader(
        self,
        split: Split,
        limit: int | None = None,
        batch_size: int = 64,
        shared: bool = False,
    ) -> BatchLoader:
        """Every image once, without randomness: resized, centre-cropped, in a fixed order.

        Unreadable images are left out, so a batch may be smaller than asked for.

        Args:
            split: ``train`` or ``val``.
            limit: At most that many images, a random but fixed choice.
            batch_size: Images per batch, of this process.
            shared: Deal the images out to the ranks, instead of all of them to each.
        """
        dataset = self.raw(split)
        indices = np.arange(len(dataset))
        if limit is not None and limit < len(dataset):
            indices = np.sort(np.random.default_rng(0).permutation(indices)[:limit])
        if shared:
            indices = indices[self._rank :: self._ranks]
        transform = evaluation_transform(self.image_size, self.eval_crop, self.eval_resize)
        return BatchLoader(
            self._samples(dataset, [transform], 1),
            FixedSampler(indices),
            batch_size,
            self._unreadable[split],
            **self._options(),
        )

    # -- batches ---------------------------------------------------------------------------------

    def prepare(self, batch: Mapping[str, Any], device: torch.device | str) -> dict[str, Any]:
        """Finish a batch of a loader on ``device``.

        Returns:
            ``images``: float32 (B, 3, H, W), normalised by the ImageNet statistics;
            ``superpixels``: int64 (B, H, W); both lists over the views where these are several.
            ``label`` and ``index``: int64 (B,).
        """
        images = [view.to(device, non_blocking=True) / 255 for view in batch["images"]]
        if self.superpixels_on == "device":
            superpixels = [self.superpixel(view) for view in images]
        else:
            superpixels = [x.to(device, non_blocking=True).long() for x in batch["superpixels"]]
        images = [F.normalize(view, IMAGENET_MEAN, IMAGENET_STD, inplace=True) for view in images]
        plain = len(images) == 1
        return {
            "images": images[0] if plain else images,
            "superpixels": superpixels[0] if plain else superpixels,
            "label": batch["label"].to(device, non_blocking=True),
            "index": batch["index"].to(device, non_blocking=True),
        }

    @staticmethod
    def denormalise(images: Tensor) -> Tensor:
        """Undo the normalisation: (..., 3, H, W) -> the same shape with values in 0..1."""
        mean = images.new_tensor(IMAGENET_MEAN).view(3, 1, 1)
        std = images.new_tensor(IMAGENET_STD).view(3, 1, 1)
        return (images * std + mean).clamp(0, 1)

    # -- details ---------------------------------------------------------------------------------

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

    def _samples(
        self,
        dataset: RawDataset,
        transforms: Sequence[Transform],
        attempts: int,
        cover: Cover | None = None,
    ) -> Samples:
        in_worker = self.superpixel if self.superpixels_on == "worker" else None
        return Samples(dataset, transforms, in_worker, self.seed, attempts, cover)

    def _options(self) -> dict[str, Any]:
        on_cuda = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return {
            "workers": self._workers,
            "prefetch_factor": self.prefetch if self._workers else None,
            "pin_memory": on_cuda,
        }


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
