"""Superpixels of a batch of images: the map, and what the shapes after it follow from."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor


class Superpixels(NamedTuple):
    """Superpixels of images, with all that would otherwise have to be read from the map.

    `count` is a number of Python, the same for all images: no shape depends on what an image shows,
    and nobody waits for the device to know it. A label that an image does not use owns no pixel.

    Attributes:
        map: Label of each pixel, 0..count-1, int64 (B, H, W).
        count: Number of labels N.
        sizes: Pixels of each label, int64 (B, N); 0 for a label that is not used.
        centroids: Mean row and column of its pixels, float32 (B, N, 2); 0 where it has none.
        whole: Number that levels given as fractions are fractions of: N, unless there is room for
            more labels than the method makes.
        full: Whether every label is known to own pixels of every image, so that nothing has to be
            masked.
    """

    map: Tensor
    count: int  # type: ignore[assignment]  # a tuple has a method of this name
    sizes: Tensor
    centroids: Tensor
    whole: int
    full: bool = False

    @classmethod
    def of(
        cls,
        labels: "Tensor | Superpixels",
        count: int | None = None,
        whole: int | None = None,
        full: bool = False,
    ) -> "Superpixels":
        """Superpixels of a label map.

        Args:
            labels: Labels from 0, int64 (B, H, W). What is `Superpixels` already stays as it is.
            count: Number of labels, more than each of them. None reads it from the map, and so
                waits for the device.
            whole: See `Superpixels`; None for `count`.
            full: See `Superpixels`.

        Raises:
            ValueError: A label below 0, where the map is read.
        """
        if isinstance(labels, Superpixels):
            return labels
        if count is None:
            low, high = torch.stack(labels.aminmax()).tolist()
            if low < 0:
                raise ValueError(f"labels of superpixels count from 0, but there is {low}")
            count = int(high) + 1
        batch, height, width = labels.shape
        flat, device = labels.flatten(1), labels.device
        rows = torch.arange(height, device=device)[:, None].expand(height, width).flatten()
        columns = torch.arange(width, device=device).expand(height, width).flatten()
        # Sums of integers are the same in any order, and so on every run on a GPU too.
        sizes, down, across = (
            torch.zeros(batch, count, dtype=torch.int64, device=device).scatter_add_(
                1, flat, values.expand_as(flat)
            )
            for values in (torch.ones_like(rows), rows, columns)
        )
        centroids = torch.stack([down, across], -1) / sizes.clamp(min=1)[..., None]
        return cls(labels, count, sizes, centroids.float(), whole or count, full)

    @classmethod
    def cat(cls, parts: "Sequence[Superpixels]") -> "Superpixels":
        """Join batches of the same count and size."""
        labels, _, sizes, centroids, _, full = zip(*parts, strict=True)
        return parts[0]._replace(
            map=torch.cat(labels),
            sizes=torch.cat(sizes),
            centroids=torch.cat(centroids),
            full=all(full),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The superpixels on a device."""
        labels, sizes, centroids = (
            values.to(device, non_blocking=non_blocking)
            for values in (self.map, self.sizes, self.centroids)
        )
        return self._replace(map=labels, sizes=sizes, centroids=centroids)
