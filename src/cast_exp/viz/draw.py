"""Sheets of images, their superpixels, and the coarser segments painted in agreeing colours."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cast_exp.ops import contingency, farthest_point_sampling
from cast_exp.ops.labels import contours
from cast_exp.output.pictures import to_bytes

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

_INK = (40, 40, 40)
_DISTINCT = 512


def palette(count: int, seed: int = 0) -> Pixels:
    """Colours as far from each other as can be, the first ones farthest.

    Farthest point sampling in CIELAB, where equal distances look equally large, among colours
    neither pale, dark nor grey.

    Args:
        count: How many; they repeat after 512.
        seed: Picks the first; the same seed gives the same colours.

    Returns:
        RGB, uint8 (count, 3).
    """
    return np.asarray(_distinct_colours(seed)[np.arange(count) % _DISTINCT])


@lru_cache
def _distinct_colours(seed: int) -> Pixels:
    steps = np.linspace(0, 1, 16, dtype=np.float32)
    rgb = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    lab = cv2.cvtColor(rgb[None], cv2.COLOR_RGB2LAB)[0]
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    keep = (lightness > 42) & (lightness < 84) & (chroma > 22) & (chroma < 62)
    points = torch.from_numpy(lab[keep])
    first = int(np.random.default_rng(seed).integers(len(points)))
    chosen = farthest_point_sampling(points[None], _DISTINCT, first=first)[0].numpy()
    return np.asarray(np.round(rgb[keep][chosen] * 255), dtype=np.uint8)


def paint_levels(segmentations: Sequence[Labels], seed: int = 0) -> list[Pixels]:
    """Paint the levels of one image so that their colours agree.

    The coarsest segments take the first colours. Going finer, the largest part of a segment keeps
    its colour and the other parts take new ones: a segment always shows the colour of its largest
    part, and no two segments of a level share one.

    Args:
        segmentations: Labels from fine to coarse, int (H, W) each.
        seed: See `palette`.

    Returns:
        The levels in the same order, uint8 (H, W, 3) each.
    """
    parents, sizes = [], []
    for fine, coarse in pairwise(segmentations):
        shape = (int(fine.max()) + 1, int(coarse.max()) + 1)
        overlap = contingency(torch.from_numpy(fine), torch.from_numpy(coarse), shape).numpy()
        parents.append(overlap.argmax(1))
        sizes.append(overlap.max(1))
    coarsest = int(segmentations[-1].max()) + 1
    colours = nested_colours(parents, sizes, coarsest, seed)
    return [colour[labels] for colour, labels in zip(colours, segmentations, strict=True)]


def nested_colours(
    parents: Sequence[Labels], sizes: Sequence[Labels], coarsest: int, seed: int = 0
) -> list[Pixels]:
    """Choose colours for the segments of nested levels so that they agree; see `paint_levels`.

    Args:
        parents: For each level but the coarsest, from fine to coarse: the segment of the next
            level that each segment is a part of, int (n,).
        sizes: How large each of these parts is, int (n,).
        coarsest: Number of segments of the coarsest level.
        seed: See `palette`.

    Returns:
        Colour of each segment, uint8 (n, 3), for each level from fine to coarse.
    """
    chosen: list[Labels] = [np.arange(coarsest)]
    used = coarsest
    for parent, size in zip(reversed(parents), reversed(sizes), strict=True):
        parts = np.flatnonzero(size)
        largest_first = parts[np.lexsort((-size[parts], parent[parts]))]
        heads, first = np.unique(parent[largest_first], return_index=True)
        colour = np.full(len(parent), -1)
        colour[largest_first[first]] = chosen[0][heads]
        new = np.flatnonzero(colour < 0)
        colour[new] = used + np.arange(len(new))
        used += len(new)
        chosen.insert(0, colour)
    rgb = palette(used, seed)
    return [rgb[colour] for colour in chosen]


def hierarchy_sheet(
    images: Tensor, segmentations: Sequence[Tensor], seed: int = 0, side: int = 256
) -> Pixels:
    """One row for each image: the image, its superpixels, then every coarser level painted.

    Args:
        images: RGB, float (N, 3, H, W) in 0..1.
        segmentations: Labels from fine (superpixels) to coarse, int (N, H, W) each.
        seed: See `palette`.
        side: Smaller images are enlarged by a whole factor, without smoothing, to at least this
            many pixels on their shorter side.

    Returns:
        The sheet with a title over each column, uint8 (height, width, 3).
    """
    factor = max(1, math.ceil(side / min(images.shape[-2:])))
    pictures = to_bytes(images)
    levels = [labels.detach().long().cpu().numpy() for labels in segmentations]
    rows = [
        _row(picture, [labels[index] for labels in levels], factor, seed)
        for index, picture in enumerate(pictures)
    ]
    nouns = ["superpixels"] + ["segments"] * (len(levels) - 1)
    titles = ["image"]
    titles += [f"{_counts(labels)} {noun}" for labels, noun in zip(levels, nouns, strict=True)]
    return titled_grid(rows, titles)


def _row(picture: Pixels, levels: Sequence[Labels], factor: int, seed: int) -> list[Pixels]:
    picture = _enlarge(picture, factor)
    levels = [_enlarge(labels, factor) for labels in levels]
    painted = paint_levels(levels, seed)
    return [picture, *map(outlined, [picture, *painted[1:]], levels)]


def outlined(picture: Pixels, labels: Labels) -> Pixels:
    """A copy of a picture (H, W, 3) with white contours of a segmentation (H, W)."""
    picture = picture.copy()
    picture[contours(labels)] = 255
    return picture


def _enlarge(pixels: NDArray[Any], factor: int) -> NDArray[Any]:
    return pixels.repeat(factor, 0).repeat(factor, 1)


def _counts(labels: Labels) -> str:
    counts = [len(np.unique(image)) for image in labels]
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}-{high}"


def titled_grid(rows: Sequence[Sequence[Pixels]], titles: Sequence[str]) -> Pixels:
    """Put pictures of one size in rows and columns, with a title over each column.

    Args:
        rows: Pictures, uint8 (H, W, 3); as many in each row as there are titles.
        titles: One for each column.

    Returns:
        The sheet on white, uint8 (height, width, 3).
    """
    height, width = rows[0][0].shape[:2]
    gap = max(4, width // 40)
    size = max(11, width // 13)
    top = 2 * size
    sheet = Image.new(
        "RGB",
        (len(titles) * (width + gap) + gap, top + len(rows) * (height + gap)),
        (255, 255, 255),
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size)
    for column, title in enumerate(titles):
        left = gap + column * (width + gap)
        draw.text((left + width / 2, top / 2), title, fill=_INK, font=font, anchor="mm")
        for row, cells in enumerate(rows):
            cell = Image.fromarray(np.ascontiguousarray(cells[column]))
            sheet.paste(cell, (left, top + row * (height + gap)))
    return np.asarray(sheet)
