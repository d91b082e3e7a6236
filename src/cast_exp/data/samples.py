"""What a loader worker does: decode, transform, superpixels, and the batch of it all."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cast_exp.data.datasets.base import RawDataset, UnreadableImage
from cast_exp.data.sampling import Key, sample_seed
from cast_exp.data.transforms import Cover, Transform
from cast_exp.superpixels import SuperpixelMethod

_REPLACEMENT = 1 << 16  # keeps the seeds of replacements apart from those of the views


class Samples(Dataset[dict[str, Any]]):
    """Views of the images of a raw dataset with their superpixels.

    An item is a pure function of its key and the seed: each view is drawn from a generator seeded
    with (seed, epoch, index, view), where the views of a further copy of an image count on from
    those of the one before, so neither the number of workers nor the rank matters. Items are dicts
    for :func:`collate`: ``views`` (list of uint8 (3, H, W), None when no image could be read),
    ``superpixels`` (list of (H, W) int16, or int32 where int16 does not suffice; empty without a
    method), ``label``, ``index`` (both of the image that was read) and ``unreadable`` (pairs of
    path and reason).

    Args:
        dataset: The images.
        transforms: One for each view.
        superpixel: Superpixels of each view, on the CPU; None leaves them to the device.
        seed: Seed of the run.
        attempts: How many images to try before giving up. After the first, each is drawn from a
            generator seeded with (seed, epoch, index, attempt).
        cover: Covers a part of each view; None for nothing.
    """

    def __init__(
        self,
        dataset: RawDataset,
        transforms: Sequence[Transform],
        superpixel: SuperpixelMethod | None,
        seed: int,
        attempts: int,
        cover: Cover | None = None,
    ) -> None:
        self.dataset = dataset
        self.transforms = transforms
        self.superpixel = superpixel
        self.seed = seed
        self.attempts = attempts
        self.cover = cover

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, draw = key
        copy, index = divmod(draw, len(self))
        unreadable = []
        for attempt in range(self.attempts):
            chosen = index if attempt == 0 else self._replacement(epoch, index, attempt)
            try:
                raw = self.dataset[chosen]
            except UnreadableImage as error:
                unreadable.append((error.path, error.reason))
                continue
            views, outlined = [], []
            for view, transform in enumerate(self.transforms, copy * len(self.transforms)):
                with torch.random.fork_rng(devices=[]):  # without workers, this is the main process
                    torch.default_generator.manual_seed(sample_seed(self.seed, epoch, index, view))
                    pixels = transform(raw["image"])
                    seen, shown = self.cover(pixels) if self.cover else (pixels, pixels)
                views.append(seen)
                outlined.append(shown)
            superpixels = [] if self.superpixel is None else self._superpixels(outlined)
            break
        else:
            views, superpixels, raw, chosen = None, [], {"label": -1}, index
        return {
            "views": views,
            "superpixels": superpixels,
            "label": raw["label"],
            "index": chosen,
            "unreadable": unreadable,
        }

    def _replacement(self, epoch: int, index: int, attempt: int) -> int:
        return sample_seed(self.seed, epoch, index, _REPLACEMENT + attempt) % len(self)

    def _superpixels(self, views: list[Tensor]) -> list[Tensor]:
        assert self.superpixel is not None
        small = self.superpixel.count <= np.iinfo(np.int16).max
        dtype = torch.int16 if small else torch.int32
        return [self.superpixel(view[None] / 255)[0].to(dtype) for view in views]


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack the samples that could be read.

    Returns:
        ``images`` and ``superpixels``: lists over the views of (B, ...) tensors, ``label`` and
        ``index``: int64 (B,), ``unreadable``: all pairs of path and reason, ``lost``: the number
        of samples without an image.
    """
    good = [sample for sample in samples if sample["views"] is not None]
    return {
        "images": [torch.stack(view) for view in zip(*(s["views"] for s in good), strict=True)],
        "superpixels": [
            torch.stack(view) for view in zip(*(s["superpixels"] for s in good), strict=True)
        ],
        "label": torch.tensor([sample["label"] for sample in good], dtype=torch.int64),
        "index": torch.tensor([sample["index"] for sample in good], dtype=torch.int64),
        "unreadable": [file for sample in samples for file in sample["unreadable"]],
        "lost": len(samples) - len(good),
    }
