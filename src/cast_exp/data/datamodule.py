"""The images of a run: loaders, and the last step from 8-bit batches to what a model takes."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from lightning.fabric.utilities import move_data_to_device
from pydantic import Field

from cast_exp.data.base import RawDataModule, local_batch_size
from cast_exp.data.datasets.base import RawDataset, Split
from cast_exp.data.datasets.images import ValueRange
from cast_exp.data.datasets.pixels import PixelItems
from cast_exp.data.datasets.streamed import StreamedImages
from cast_exp.data.deit import Erasing
from cast_exp.data.device_views import Cuts, cut, make_views
from cast_exp.data.loader import BatchLoader, TrainLoader
from cast_exp.data.samples import Samples
from cast_exp.data.sampling import FixedSampler
from cast_exp.data.streams import FixedOrder, StreamLoader, StreamSamples
from cast_exp.data.transforms import (
    Augmentation,
    Resize,
    evaluation_transform,
    normalise_,
)
from cast_exp.data.views import View
from cast_exp.errors import UserError
from cast_exp.ops import Superpixels
from cast_exp.superpixels import SuperpixelMethod

Place = Literal["worker", "device"]


class ImageDataModule(RawDataModule):
    """Images with superpixels, as random views for training or plain for evaluation.

    The way of an image: a worker decodes it, makes the views and (by default) their superpixels
    and ships 8-bit pixels and 16-bit labels; :meth:`prepare` finishes the batch on its device. Or
    the worker decodes, draws and ships crops, and the device makes views and superpixels.
    What an image looks like depends on (``seed``, epoch, index, view) only, and which images a
    step sees on (``seed``, epoch, ``batch_size``), never on the workers, the ranks or a resume.

    Arguments not listed here are those of :class:`RawDataModule`.

    Args:
        views: Makes the views of training: two for contrasts, one for classes; None for data that
            are only evaluated on.
        image_size: Side of the images of the plain loaders in pixels.
        eval_crop: Share of the shorter side that the central crop of the plain loaders keeps:
            0.875 is a resize to 256 for a crop of 224, 1 no crop (for images that are small).
        eval_resize: How that resize interpolates.
        augment_on: ``worker`` makes the views of training in the loader's processes, ``device`` on
            the whole batch, which needs views of `View` and superpixels on the device. What is
            drawn is the same; pixels differ by a level here and there.
        superpixels_on: ``worker`` computes superpixels in the loader's processes, ``device`` on the
            whole batch (only methods that run anywhere).
        repeats: Times that an epoch shows each of its images, in views of their own; it has that
            many times fewer images then (repeated augmentation; Hoffer et al., 2020).

    Raises:
        UserError: Superpixels on the device from a method of the CPU, or of views that are covered
            in part; views on the device that it cannot make; from :meth:`setup`, missing data, a
            batch size that the devices cannot share or that exceeds the data.
    """

    holds = "whole images and their classes"

    def __init__(
        self,
        dataset: Callable[..., RawDataset],
        views: Augmentation | None,
        superpixel: SuperpixelMethod,
        root: Path | None = None,
        batch_size: Annotated[int, Field(ge=1)] = 256,
        image_size: Annotated[int, Field(ge=1)] = 224,
        eval_crop: Annotated[float, Field(gt=0, le=1)] = 0.875,
        eval_resize: Resize = "bilinear",
        augment_on: Place = "worker",
        superpixels_on: Place = "worker",
        cache_superpixels: bool = False,
        workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto",
        prefetch: Annotated[int, Field(ge=1)] = 2,
        drop_last: bool = True,
        repeats: Annotated[int, Field(ge=1)] = 1,
        max_unreadable: Annotated[float, Field(ge=0, le=1)] = 0.01,
        value_range: ValueRange | None = None,
        expected_images: Mapping[Split, int] | None = None,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        if augment_on == "device":
            _require_device_views(views, superpixel, superpixels_on)
        if superpixels_on == "device" and superpixel.device == "cpu":
            raise UserError(
                f"{type(superpixel).__name__} superpixels run on the CPU only; set "
                "data.superpixels_on=worker, or choose superpixel=slic or superpixel=grid"
            )
        if superpixels_on == "device" and views is not None and views.erasing is not None:
            raise UserError(
                "superpixels on the device would outline what random erasing covers; set "
                "data.superpixels_on=worker or augmentation.erasing_probability=0"
            )
        if superpixels_on == "device" and cache_superpixels:
            raise UserError(
                "data.cache_superpixels keeps what loader workers compute; set it to false, or "
                "data.superpixels_on=worker"
            )
        shared = (batch_size, workers, prefetch, drop_last, max_unreadable, value_range)
        super().__init__(
            dataset, superpixel, cache_superpixels, root, *shared, expected_images, seed
        )
        self.views = views
        self.image_size = image_size
        self.eval_crop = eval_crop
        self.eval_resize = eval_resize
        self.augment_on = augment_on
        self.superpixels_on = superpixels_on
        self.repeats = repeats

    def first_superpixels(self, split: Split) -> int:
        """See `RawDataModule.first_superpixels`."""
        return self.superpixel.labels(self.image_size, self.image_size)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Finish a batch that Lightning has moved to its device."""
        return self.prepare(batch, batch["label"].device)

    # -- loaders ---------------------------------------------------------------------------------

    def train_dataloader(self) -> TrainLoader | StreamLoader:
        """Views of each image, this rank's share of every batch, in the order of the epoch."""
        if self.views is None:
            raise UserError("data.views=null: these data have no views to train on")
        if self.augment_on == "device":
            cuts = [partial(cut, view) for view in self.views.transforms if isinstance(view, View)]
            pixels = PixelItems(self.raw("train"), self.value_range)
            return self._train_loader(Samples(pixels, cuts, None, self.seed), self.repeats)
        raw, transforms, erasing = self._rgb("train"), self.views.transforms, self.views.erasing
        method = self.superpixel if self._by_workers else None
        samples = Samples(raw, transforms, method, self.seed, erasing=erasing)
        return self._train_loader(samples, self.repeats)

    def val_dataloader(self) -> BatchLoader:
        """This rank's share of the validation images, each image on one rank only."""
        batch_size = local_batch_size(self.batch_size, self._ranks)
        return self.plain_dataloader("val", None, batch_size, shared=True, persistent=True)

    def plain_dataloader(
        self,
        split: Split,
        limit: int | None = None,
        batch_size: int = 64,
        shared: bool = False,
        persistent: bool = False,
    ) -> BatchLoader:
        """Every image once, without randomness: resized, centre-cropped, in a fixed order.

        Of a stream, the order depends on the number of workers, and a choice is its first images.

        Unreadable images are left out, so a batch may be smaller than asked for.

        Args:
            split: ``train`` or ``val``.
            limit: At most that many images, a random but fixed choice.
            batch_size: Images per batch, of this process.
            shared: Deal the images out to the ranks, instead of all of them to each.
            persistent: Keep the workers from one iteration to the next.
        """
        samples = self._plain_samples(split, attempts=1)
        items: Samples | StreamSamples = samples
        order: FixedSampler | None = None
        if isinstance(raw := self.raw(split), StreamedImages):
            own = (self._rank, self._ranks) if shared else (0, 1)
            items = StreamSamples(samples, raw, FixedOrder(*own, limit))
        else:
            order = self._fixed_order(split, limit, shared)
        return BatchLoader(
            items,
            order,
            batch_size=batch_size,
            unreadable=self._unreadable[split],
            **self._options(persistent),
        )

    def _plain_samples(self, split: Split, attempts: int) -> Samples:
        transform = evaluation_transform(self.image_size, self.eval_crop, self.eval_resize)
        # Where superpixels come last in training, they see the same rounding in validation.
        erasing = self.views.erasing if self.views else None
        erasing = erasing.never() if isinstance(erasing, Erasing) else None
        raw, seed = self._rgb(split), self.seed
        method = self.plain_superpixel if self._by_workers else None
        return Samples(raw, [transform], method, seed, attempts, erasing=erasing)

    @property
    def _by_workers(self) -> bool:
        return self.superpixels_on == "worker"

    # -- batches ---------------------------------------------------------------------------------

    def prepare(self, batch: Mapping[str, Any], device: torch.device | str) -> dict[str, Any]:
        """Finish a batch of a loader on ``device``.

        Returns:
            ``images``: float32 (B, 3, H, W), normalised by the ImageNet statistics;
            ``superpixels``: a :class:`Superpixels`; both lists over the views where these are
            several.
            ``label`` and ``index``: int64 (B,).
        """
        views = batch["images"]
        if isinstance(views, Cuts):
            made = make_views(move_data_to_device(views, device))
            views = made.view(-1, len(batch["label"]), *made.shape[1:])
        images = [view.to(device, non_blocking=True) / 255 for view in views]
        if self.superpixels_on == "device":
            maps = [self.superpixel(view) for view in images]
        else:
            maps = [x.to(device, non_blocking=True).long() for x in batch["superpixels"]]
        method = self.superpixel
        superpixels = [
            Superpixels.of(x, method.labels(*x.shape[-2:]), full=method.full) for x in maps
        ]
        images = [normalise_(view) for view in images]
        plain = len(images) == 1
        return {
            "images": images[0] if plain else images,
            "superpixels": superpixels[0] if plain else superpixels,
            "label": batch["label"].to(device, non_blocking=True),
            "index": batch["index"].to(device, non_blocking=True),
        }


def _require_device_views(
    views: Augmentation | None, superpixel: SuperpixelMethod, superpixels_on: Place
) -> None:
    """Make sure that the device can make views and their superpixels.

    Raises:
        UserError: It cannot.
    """
    if superpixel.device == "cpu":
        raise UserError(
            "data.augment_on=device makes views, and so their superpixels, on the device, but "
            f"{type(superpixel).__name__} superpixels run on the CPU only; choose superpixel=slic "
            "or superpixel=grid, or set data.augment_on=worker"
        )
    if superpixels_on == "worker":
        raise UserError(
            "data.augment_on=device leaves no view to the workers to compute superpixels of; set "
            "data.superpixels_on=device"
        )
    if views is not None and not all(isinstance(view, View) for view in views.transforms):
        raise UserError(
            f"data.augment_on=device cannot make the views of {type(views).__name__}; set "
            "data.augment_on=worker, or choose augmentation=byol or crop_flip_single"
        )
