"""As many superpixels as were asked for, by cutting the largest."""

import torch
from torch import Tensor


def split_largest(labels: Tensor, count: int) -> Tensor:
    """Cut superpixels into strips of equal area until an image has `count`.

    The largest strip is as small as can be. A superpixel is cut across the longer side of its
    bounding box. The strips of one that is not convex can consist of more than one piece. Nothing
    waits for the device.

    Args:
        labels: int64 (B, H, W), from 0; at most `count` of them own pixels, and all are below it.
        count: Superpixels of each image, at most H * W.

    Returns:
        int64 (B, H, W), ``0..count-1``, all of which own pixels of every image. Superpixels keep
        their order.
    """
    batch, height, width = labels.shape
    flat, device = labels.flatten(1), labels.device
    area = height * width
    sizes = flat.new_zeros(batch, count).scatter_add_(1, flat, torch.ones_like(flat))
    parts = shares(sizes, count, area)

    down = torch.arange(height, device=device)[:, None].expand(height, width).flatten()
    across = torch.arange(width, device=device).expand(height, width).flatten()
    tall = _extents(flat, down, count) > _extents(flat, across, count)
    line = torch.where(tall.gather(1, flat), down, across)
    order = (flat * max(height, width) + line).argsort(dim=1, stable=True)
    label = flat.gather(1, order)
    rank = torch.arange(area, device=device) - (sizes.cumsum(1) - sizes).gather(1, label)
    strip = rank * parts.gather(1, label) // sizes.gather(1, label)
    numbers = (parts.cumsum(1) - parts).gather(1, label) + strip
    return torch.empty_like(flat).scatter_(1, order, numbers).view_as(labels)


def shares(areas: Tensor, count: int, whole: int) -> Tensor:
    """Divide `count` parts among superpixels so that the largest part is smallest.

    It is as if one part after the other were given to the superpixel whose parts are largest. The
    size that parts may have is found by bisection instead, in a fixed number of steps.

    Args:
        areas: In pixels, int64 (B, N).
        count: Number of parts, at least that of areas above 0, and at most their sum.
        whole: Sum of the areas of each image.

    Returns:
        Parts of each, int64 (B, N): 0 where there is no pixel, else at least 1, and at most the
        area.
    """
    batch, number = areas.shape
    steps = (count + 1) ** 2  # of a pixel: so fine that sizes of parts that differ do so by a step
    fine = areas * steps
    too_small, enough = fine.new_zeros(batch, 1), fine.amax(1, keepdim=True)
    for _ in range((whole * steps).bit_length()):
        middle = (too_small + enough + 1) // 2
        fits = _ceil(fine, middle).sum(1, keepdim=True) <= count
        too_small, enough = torch.where(fits, too_small, middle), torch.where(fits, middle, enough)
    parts = _ceil(fine, enough)
    missing = count - parts.sum(1, keepdim=True)
    largest = (fine // parts.clamp(min=1)).argsort(dim=1, descending=True, stable=True)
    more = (torch.arange(number, device=areas.device) < missing).long().expand_as(parts)
    return parts.scatter_add(1, largest, more)


def _ceil(numerator: Tensor, denominator: Tensor) -> Tensor:
    return (numerator + denominator - 1) // denominator


def _extents(flat: Tensor, place: Tensor, count: int) -> Tensor:
    """How far labels reach along an axis, in pixels less one (B, count)."""
    place, start = place.expand_as(flat), flat.new_zeros(len(flat), count)
    high = start.scatter_reduce(1, flat, place, "amax", include_self=False)
    return high - start.scatter_reduce(1, flat, place, "amin", include_self=False)
