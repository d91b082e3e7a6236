"""Windows that slide over an image, and what classes their scores give its pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from cast_exp.models.hierarchy import Hierarchy
from cast_exp.ops import Superpixels

_ROWS = 32  # of the image that have scores at a time


@dataclass(frozen=True)
class Windows:
    """An image of some size, perhaps mirrored, in square windows that may overlap.

    Attributes:
        images: Normalised windows, float (W, 3, S, S), row by row.
        superpixels: Those of each window by itself, maps (W, S, S).
        tops: Where rows of windows begin, in pixels.
        lefts: Where columns of windows begin.
        size: Height and width of the image.
        mirrored: Whether the image is mirrored left to right.
    """

    images: Tensor
    superpixels: Superpixels
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    size: tuple[int, int]
    mirrored: bool = False

    def to(self, device: torch.device | str) -> Self:
        """The windows on a device."""
        return replace(self, images=self.images.to(device), superpixels=self.superpixels.to(device))

    @property
    def side(self) -> int:
        """Side of a window, in pixels."""
        return self.images.size(-1)

    def on_image(self, labels: Tensor, count: int, height: int, width: int) -> Tensor:
        """Labels of windows on the whole image: each pixel has those of the most central window.

        Args:
            labels: 0..count-1, int64 (W, S, S).
            count: Labels of window w are counted on from w * count.
            height: Of the image to label, which may have another size.
            width: Likewise.

        Returns:
            int64 (height, width), on the CPU.
        """
        assert not self.mirrored
        rows, row = _nearest_window(self.tops, self.side, self.size[0], height)
        columns, column = _nearest_window(self.lefts, self.side, self.size[1], width)
        window = rows[:, None] * len(self.lefts) + columns
        return labels.cpu()[window, row[:, None], column] + window * count


def starts(length: int, side: int, stride: int) -> tuple[int, ...]:
    """Where windows of a side begin that cover a length: every stride, the last at the end."""
    return (*range(0, length - side, stride), length - side)


def blended_classes(
    parts: Sequence[tuple[Tensor, Hierarchy, Windows]], height: int, width: int
) -> Tensor:
    """Class of each pixel by the scores of windows (official release).

    Scores of a pixel are averaged over the windows that have it, and enlarged bilinearly to the
    size that is wanted. Of several versions of the image, probabilities are averaged. There are
    never more scores of pixels at a time than those of a few rows.

    Args:
        parts: Scores of the tokens of all windows (W, N, K), their hierarchy, and the windows, of
            each version of the image.
        height: The size that is wanted.
        width: Likewise.

    Returns:
        int64 (height, width), on the device of the scores.
    """
    found = []
    for top in range(0, height, _ROWS):
        rows = torch.arange(top, min(top + _ROWS, height))
        bands = [_band(*part, rows, height, width) for part in parts]
        total = bands[0] if len(bands) == 1 else sum(band.softmax(-1) for band in bands)
        assert isinstance(total, Tensor)
        found.append(total.argmax(-1))
    return torch.cat(found)


def _band(
    scores: Tensor, hierarchy: Hierarchy, windows: Windows, rows: Tensor, height: int, width: int
) -> Tensor:
    """Scores on some rows of an image of the size that is wanted, float (R, width, K)."""
    scores = scores.float()
    above, below, down = _between(rows, height, windows.size[0])
    first, last = int(above[0]), int(below[-1]) + 1
    total = scores.new_zeros(last - first, windows.size[1], scores.size(-1))
    count = torch.zeros(last - first, windows.size[1])
    for number in range(len(scores)):
        top, left = (
            windows.tops[number // len(windows.lefts)],
            windows.lefts[number % len(windows.lefts)],
        )
        begin, end = max(first, top), min(last, top + windows.side)
        if begin < end:
            place = slice(begin - first, end - first), slice(left, left + windows.side)
            total[place] += _painted(scores[number], hierarchy, number, begin - top, end - top)
            count[place] += 1
    if not bool((count == 1).all()):
        total /= count[..., None].to(total.device)
    if windows.mirrored:
        total = total.flip(1)
    if (height, width) == windows.size:
        return total[: len(rows)]  # without the row below, which is not mixed in
    total = _mixed(total, 0, above - first, below - first, down)
    return _mixed(total, 1, *_between(torch.arange(width), width, windows.size[1]))


def _painted(scores: Tensor, hierarchy: Hierarchy, number: int, begin: int, end: int) -> Tensor:
    """Scores (N, K) of a window on some of its rows, float (rows, S, K); see `on_pixels`."""
    if hierarchy.grid is None:
        return scores[hierarchy.superpixels[number, begin:end]]
    patches = scores.view(*hierarchy.grid, -1)
    for dim, places in enumerate(
        (torch.arange(begin, end), torch.arange(hierarchy.superpixels.size(-1)))
    ):
        count = hierarchy.grid[dim]
        patches = _mixed(patches, dim, *_between(places, count * hierarchy.patch_size, count))
    return patches


def _between(places: Tensor, length: int, given: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two of `given` places that those of a length lie between, and how near the second is."""
    exact = ((places + 0.5) * given / length - 0.5).clamp(min=0)
    low = exact.long().clamp(max=given - 1)
    return low, (low + 1).clamp(max=given - 1), exact - low


def _mixed(values: Tensor, dim: int, low: Tensor, high: Tensor, share: Tensor) -> Tensor:
    """Linear interpolation along the first or second of three dimensions."""
    device = values.device
    share = share.to(device, values.dtype).view(-1, *(1,) * (2 - dim))
    return torch.lerp(
        values.index_select(dim, low.to(device)), values.index_select(dim, high.to(device)), share
    )


def _nearest_window(
    begins: Sequence[int], side: int, given: int, length: int
) -> tuple[Tensor, Tensor]:
    """The window whose centre is nearest, and the place in it, of each place along a length."""
    places = (2 * torch.arange(length) + 1) * given // (2 * length)
    offsets = places[:, None] - torch.tensor(begins)
    window = (2 * offsets + 1 - side).abs().argmin(1)
    return window, offsets.gather(1, window[:, None])[:, 0]
