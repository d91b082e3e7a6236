"""Random views made on the device, a batch at a time; see `View` for what they are.

A loader worker draws each view and cuts its crop out of the decoded image. All that changes pixels
is done for all views at once and rounded where Pillow rounds, so that the views are those of `View`
but for a level here and there. Nothing is read back, and the number of operators does not depend on
the batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cast_exp.data.views import BRIGHTNESS, CONTRAST, HUE, SOLARIZE_FROM, Draw, View

_CHANGES = 4  # of colour, at most
_BOXES = 3  # make a blur
_NOTHING = -1  # in the place of a change


class Cut(NamedTuple):
    """What becomes a view: the pixels of its crop, uint8 (h, w, 3), and what was drawn."""

    pixels: NDArray[np.uint8]
    drawn: Draw


class Cuts(NamedTuple):
    """The cuts of a batch, N in all.

    Attributes:
        rows: Rows of pixels of all crops, one crop after the other, padded on the right: uint8
            (R, W, 3).
        first: First row of each crop, int64 (N,).
        height: Its rows, int64 (N,).
        width: Its columns, int64 (N,).
        changes: Changes of colour in order, int64 (N, 4); see `Draw`, -1 for none.
        factors: How much each changes, float32 (N, 4).
        grey: bool (N,).
        blur: float32 (N,).
        solarize: bool (N,).
        flip: bool (N,).
        size: Side of the views in pixels.
    """

    rows: Tensor
    first: Tensor
    height: Tensor
    width: Tensor
    changes: Tensor
    factors: Tensor
    grey: Tensor
    blur: Tensor
    solarize: Tensor
    flip: Tensor
    size: int


def longest_side(size: int) -> int:
    """Pixels of a side of a crop that are handed to the device for views of a size.

    At 224 pixels 504 of them hold any crop of a photograph of ImageNet's usual 500 x 375.
    """
    return 9 * size // 4


def cut(view: View, pixels: NDArray[np.uint8]) -> Cut:
    """Draw a view of an image (H, W, 3) and cut its crop out.

    Where a side of the crop has more pixels than `longest_side`, it is scaled down to that by the
    means of areas.
    """
    drawn = view.draw(torch.empty(()).expand(pixels.shape[:2]))
    top, left, height, width = drawn[:4]
    crop = pixels[top : top + height, left : left + width]
    most = longest_side(view.size)
    if max(height, width) > most:
        shape = min(width, most), min(height, most)
        return Cut(np.asarray(cv2.resize(crop, shape, interpolation=cv2.INTER_AREA)), drawn)
    return Cut(crop.copy(), drawn)  # not a part of the image, which would be kept in memory


def join(samples: Sequence[Sequence[Cut]]) -> Cuts:
    """The cuts of a batch, view by view, from those of each sample."""
    cuts = [cut for view in zip(*samples, strict=True) for cut in view]
    drawn = [cut.drawn for cut in cuts]
    size = drawn[0].size
    height, width = (torch.tensor([cut.pixels.shape[i] for cut in cuts]) for i in range(2))
    first = height.cumsum(0) - height
    rows = np.zeros((int(height.sum()), longest_side(size), 3), np.uint8)
    for start, cut in zip(first.tolist(), cuts, strict=True):
        rows[start : start + cut.pixels.shape[0], : cut.pixels.shape[1]] = cut.pixels
    changes = [[*d.changes, *[(_NOTHING, 1.0)] * (_CHANGES - len(d.changes))] for d in drawn]
    return Cuts(
        torch.from_numpy(rows),
        first,
        height,
        width,
        torch.tensor([[kind for kind, _ in each] for each in changes]),
        torch.tensor([[factor for _, factor in each] for each in changes]),
        torch.tensor([d.grey for d in drawn]),
        torch.tensor([d.blur for d in drawn]),
        torch.tensor([d.solarize for d in drawn]),
        torch.tensor([d.flip for d in drawn]),
        size,
    )


def make_views(cuts: Cuts) -> Tensor:
    """Make all views on the device of the cuts.

    Returns:
        float32 (N, 3, size, size), integers in 0..255.
    """
    images = resized(cuts)
    for change, factor in zip(cuts.changes.unbind(1), cuts.factors.unbind(1), strict=True):
        images = changed(images, change, factor)
    images = torch.where(_each(cuts.grey), grey(images), images)
    images = blurred(images, cuts.blur)
    inverted = _each(cuts.solarize) & (images >= SOLARIZE_FROM)
    return torch.where(inverted, 255 - images, images)


def resized(cuts: Cuts) -> Tensor:
    """Scale the crops bilinearly and antialiased, and flip them: float32 (N, 3, size, size)."""
    within = torch.arange(longest_side(cuts.size), device=cuts.rows.device)
    index = cuts.first[:, None] + torch.minimum(within, cuts.height[:, None] - 1)
    crops = cuts.rows[index].movedim(3, 1).contiguous().float()  # (N, 3, H, W)
    down, across = (resizing(length, cuts.size) for length in (cuts.height, cuts.width))
    across = torch.where(cuts.flip[:, None, None], across.flip(1), across)
    lines = (crops @ across[:, None].mT).round()
    return (down[:, None] @ lines).round()


def resizing(length: Tensor, size: int) -> Tensor:
    """Weights of Pillow's bilinear resize: (N, size, `longest_side`), for the pixels of each line.

    Args:
        length: Pixels of each line, (N,); the rest is padding.
        size: Pixels that they become.
    """
    scale = length[:, None, None] / size
    out = torch.arange(size, device=length.device)[:, None] + 0.5
    pixel = torch.arange(longest_side(size), device=length.device)
    near = 1 - (pixel + 0.5 - out * scale).abs() / scale.clamp(min=1)
    weights = near.clamp(min=0) * (pixel < length[:, None, None])
    return weights / weights.sum(2, keepdim=True)


def changed(images: Tensor, change: Tensor, factor: Tensor) -> Tensor:
    """Change the colours of each image by one of torchvision's functions.

    Args:
        images: (N, 3, H, W), integers in 0..255.
        change: Which change, (N,).
        factor: How much, (N,).
    """
    change, factor = _each(change), _each(factor)
    base = grey(images)
    mean = (base.mean((1, 2, 3), keepdim=True) + 0.5).floor()
    base = torch.where(change == CONTRAST, mean, base)
    base = torch.where(change == BRIGHTNESS, 0, base)
    mixed = (base + factor * (images - base)).clamp(0, 255).floor()
    return torch.where(change == HUE, turned(images, factor), mixed)


def turned(images: Tensor, factor: Tensor) -> Tensor:
    """Turn the hue, by way of 8-bit HSV as Pillow has it."""
    value = images.amax(1, keepdim=True)
    chroma = value - images.amin(1, keepdim=True)
    red, green, blue = ((value - images) / chroma.clamp(min=1)).chunk(3, 1)
    hue = torch.where(images[:, 1:2] == value, 2 + red - blue, 4 + green - red)
    hue = torch.where(images[:, :1] == value, blue - green, hue)
    hue = ((hue / 6 + 1) % 1 * 255).floor()
    hue = (hue + (factor * 255).trunc()) % 256
    saturation = (chroma / value.clamp(min=1) * 255).floor() / 255
    place = (torch.arange(5, 0, -2, device=images.device)[:, None, None] + hue * (6 / 255)) % 6
    return (value * (1 - saturation * torch.minimum(place, 4 - place).clamp(0, 1))).round()


def grey(images: Tensor) -> Tensor:
    """Pillow's grey of images (N, 3, H, W): (N, 1, H, W)."""
    red, green, blue = images.chunk(3, 1)
    weighted: Tensor = 19595 * red + 38470 * green + 7471 * blue
    return ((weighted + 32768) / 65536).floor()


def blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur images as Pillow does, by three box filters; their edge pixels go on beyond the edge."""
    box = boxes(sigma, images.shape[-1])[:, None]
    for _ in range(_BOXES):
        images = (images @ box.mT).round()
    for _ in range(_BOXES):
        images = (box @ images).round()
    return images


def boxes(sigma: Tensor, size: int) -> Tensor:
    """Weights of the box filters of a line, three of which blur: (N, size, size).

    Args:
        sigma: Standard deviations in pixels, (N,).
        size: Pixels of a line.
    """
    variance = sigma.square() / _BOXES  # of each box
    whole = ((12 * variance + 1).sqrt() / 2 - 0.5).floor()
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    radius = (whole + part / (6 * (variance - (whole + 1).square())))[:, None]
    pixel = torch.arange(size, device=sigma.device)
    distance = (pixel - pixel[:, None]).abs()
    box = (radius[..., None] + 1 - distance).clamp(0, 1)
    box[..., 0] += (radius - pixel).clamp(min=0)
    box[..., -1] += (radius - pixel.flip(0)).clamp(min=0)
    return box / (2 * radius[..., None] + 1)


def _each(values: Tensor) -> Tensor:
    """One value for each image (N,), as (N, 1, 1, 1)."""
    return values[:, None, None, None]
