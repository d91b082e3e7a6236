"""What a loader worker does: decode, transform, superpixels, and the batch of it all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from cast_exp.data.datasets.base import RawDataset, UnreadableImage
from cast_exp.data.device_views import Cut, join
from cast_exp.data.sampling import Key, sample_seed
from cast_exp.data.transforms import RandomErasing
from cast_exp.errors import UserError
from cast_exp.superpixels import SuperpixelMethod

ATTEMPTS = 16
"""Images that training tries in the place of one that cannot be read."""

_REPLACEMENT = 1 << 16  # keeps the seeds of replacements apart from those of the views


class KeyedSamples(Dataset[dict[str, Any]], ABC):
    """What is made of the images of a raw dataset, by key; shared by all loaders.

    An item is a pure function of its key and the seed, so neither the number of workers nor the
    rank matters. An image that cannot be read is replaced by another. Items are dicts of what
    :meth:`make` makes (or :attr:`nothing`, when no image could be read), ``index`` (of the image
    that was read), ``unreadable`` (pairs of path and reason) and ``error`` (what the user has to
    mend before going on, else None; a worker's exceptions would reach the user with its trace).

    Args:
        dataset: The images.
        seed: Seed of the run.
        attempts: How many images to try before giving up. After the first, each is drawn from a
            generator seeded with (seed, epoch, index, attempt).
    """

    nothing: ClassVar[dict[str, Any]]

    def __init__(self, dataset: RawDataset, seed: int, attempts: int = ATTEMPTS) -> None:
        self.dataset = dataset
        self.seed = seed
        self.attempts = attempts

    @abstractmethod
    def make(self, raw: dict[str, Any], key: Key, chosen: int) -> dict[str, Any]:
        """What becomes of an item of the raw dataset.

        Args:
            raw: The item.
            key: What was asked for.
            chosen: Index of the item, which may replace the one that was asked for.
        """

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index = key[0], key[1] % len(self)
        others = (
            sample_seed(self.seed, epoch, index, _REPLACEMENT + attempt) % len(self)
            for attempt in range(1, self.attempts)
        )
        return self.first_of(index, others, lambda raw, chosen: self.make(raw, key, chosen))

    def first_of(
        self,
        index: int,
        others: Iterable[int],
        make: Callable[[dict[str, Any], int], dict[str, Any]],
    ) -> dict[str, Any]:
        """The item that is made of an image, or of the first of others that can be read.

        Args:
            index: Number of the image.
            others: Those that may replace it.
            make: Called with an item of the raw dataset and its number.
        """
        report: dict[str, Any] = {"unreadable": [], "error": None}
        for chosen in chain([index], others):
            try:
                return {**make(self.dataset[chosen], chosen), "index": chosen, **report}
            except UnreadableImage as error:
                report["unreadable"].append((error.path, error.reason))
            except UserError as error:
                report["error"] = str(error)
                break
        return {**self.nothing, "index": index, **report}


class Samples(KeyedSamples):
    """Views of the images of a raw dataset with their superpixels.

    Each view is drawn from a generator seeded with (seed, epoch, index, view), where the views of a
    further copy of an image count on from those of the one before. Items have ``views`` (list of
    uint8 (3, H, W), None when no image could be read), ``superpixels`` (list of (H, W) int16, or
    int32 where int16 does not suffice; empty without a method) and ``label``.

    Args:
        dataset: The images.
        transforms: Each makes a view of an image, or what the device makes a view of.
        superpixel: Superpixels of each view, on the CPU; None leaves them to the device.
        seed: See :class:`KeyedSamples`.
        attempts: See :class:`KeyedSamples`.
        erasing: Covers a part of each view; None for nothing.
    """

    nothing: ClassVar[dict[str, Any]] = {"views": None, "superpixels": [], "label": -1}

    def __init__(
        self,
        dataset: RawDataset,
        transforms: Sequence[Callable[[Any], Any]],
        superpixel: SuperpixelMethod | None,
        seed: int,
        attempts: int = ATTEMPTS,
        erasing: RandomErasing | None = None,
    ) -> None:
        super().__init__(dataset, seed, attempts)
        self.transforms = transforms
        self.superpixel = superpixel
        self.erasing = erasing

    def make(self, raw: dict[str, Any], key: Key, chosen: int) -> dict[str, Any]:
        """The views of an image."""
        copy, index = divmod(key[1], len(self))
        return self.views_of(raw, key[0], index, copy)

    def views_of(self, raw: dict[str, Any], epoch: int, index: int, copy: int) -> dict[str, Any]:
        """The views of an item that are drawn for image `index` in its copy of that number."""
        views, outlined = [], []
        for view, transform in enumerate(self.transforms, copy * len(self.transforms)):
            with torch.random.fork_rng(devices=[]):  # without workers, this is the main process
                torch.default_generator.manual_seed(sample_seed(self.seed, epoch, index, view))
                pixels = transform(raw["image"])
                erased, outline = self.erasing(pixels) if self.erasing else (pixels, pixels)
            views.append(erased)
            outlined.append(outline)
        superpixels = []
        if self.superpixel is not None:
            superpixels = [packed_superpixels(self.superpixel, view) for view in outlined]
        return {"views": views, "superpixels": superpixels, "label": raw["label"]}


def packed_superpixels(method: SuperpixelMethod, image: Tensor) -> Tensor:
    """Superpixels (H, W) of a uint8 image (3, H, W), in 16 bits if these do, else in 32."""
    dtype = torch.int16 if method.count <= np.iinfo(np.int16).max else torch.int32
    return method(image[None] / 255)[0].to(dtype)


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack the samples that could be read.

    Returns:
        ``images`` and ``superpixels``: lists over the views of (B, ...) tensors, the first perhaps
        `Cuts` of all views; ``label``, ``index`` and whatever else the samples have: (B, ...)
        (where no image could be read, empty lists); ``unreadable``: all pairs of path and reason;
        ``error``: the first one; ``lost``: the number of samples without an image.
    """
    good = [sample for sample in samples if sample["views"] is not None]

    def column(key: str) -> Any:
        values = [sample[key] for sample in good]
        return default_collate(values) if values else values

    views = [sample["views"] for sample in good]
    cuts = views and isinstance(views[0][0], Cut)
    others = samples[0].keys() - {"views", "superpixels", "unreadable", "error"}
    return {
        "images": join(views) if cuts else column("views"),
        "superpixels": column("superpixels"),
        **{key: column(key) for key in others},
        "unreadable": [file for sample in samples for file in sample["unreadable"]],
        "error": next((sample["error"] for sample in samples if sample["error"]), None),
        "lost": len(samples) - len(good),
    }
