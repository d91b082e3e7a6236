"""What the heads of an attention block take for the figure, as masks and as sheets to look at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cast_exp.models.hierarchy import Attention, Hierarchy
from cast_exp.ops import kept_mass
from cast_exp.ops.labels import VOID, contours, nearest
from cast_exp.output.pictures import fitted
from cast_exp.viz.draw import Pixels, palette

_BEST = (255, 176, 0)  # tells from the colours of the heat for the colour-blind too
_WIDEST = 7  # cells beside each other


@dataclass(frozen=True)
class HeadMaps:
    """Attention heads on the pixels of one image; the arrays may differ in resolution.

    Attributes:
        picture: RGB, uint8 (H, W, 3).
        heat: Attention of the token each pixel belongs to, float (heads, H, W).
        masks: Pixels that each head takes for the figure, bool (heads, H, W).
        objects: Truth, if there is any: 0 for background, 255 for void, int (H, W).
        jaccards: How well each head's mask fits all objects together, float (heads,).
    """

    picture: Pixels
    heat: NDArray[np.floating[Any]]
    masks: NDArray[np.bool_]
    objects: NDArray[np.integer[Any]] | None = None
    jaccards: NDArray[np.floating[Any]] | None = None


def superpixel_heads(hierarchy: Hierarchy) -> Tensor:
    """Attention to the token that each superpixel belongs to, float (B, heads, N).

    Raises:
        ValueError: The hierarchy was made without attention.
    """
    attention = _attention(hierarchy)
    return attention.heads.take_along_dim(hierarchy.labels(attention.level)[:, None], 2)


def binary_masks(
    hierarchy: Hierarchy, mass: float = 0.6, rule: Literal["tokens", "pixels"] = "tokens"
) -> Tensor:
    """Superpixels that each attention head takes for the figure.

    Args:
        hierarchy: Made with `attention` set.
        mass: Share of the attention that a mask holds.
        rule: Whether it holds it in the fewest tokens, or in the fewest pixels.

    Returns:
        bool (B, heads, N), to be read at `hierarchy.superpixels`.

    Raises:
        ValueError: The hierarchy was made without attention.
    """
    attention = _attention(hierarchy)
    sizes = None
    if rule == "pixels":
        segments = hierarchy.segmentation(attention.level).flatten(1)
        sizes = segments.new_zeros(len(segments), attention.heads.size(-1))
        sizes = sizes.scatter_add(1, segments, torch.ones_like(segments))[:, None]
    kept = kept_mass(attention.heads, mass, sizes)
    return kept.take_along_dim(hierarchy.labels(attention.level)[:, None], 2)


def _attention(hierarchy: Hierarchy) -> Attention:
    if hierarchy.attention is None:
        raise ValueError("the hierarchy has no attention; call the backbone with attention=BLOCK")
    return hierarchy.attention


def figure_ground_sheet(images: Sequence[HeadMaps], side: int = 256, seed: int = 0) -> Pixels:
    """For each image: itself, the truth, and each head's attention with its mask outlined.

    Pale yellow is the most attention that a head pays, black none; outside its mask all is dim. The
    head that is best for all objects together has a frame. The ground between the pictures is
    transparent and all text stands on the pictures, so that the sheet looks the same on light and
    on dark.

    Args:
        images: What to show; all with truth, or none.
        side: Longer side of each picture in pixels.
        seed: See `palette`.

    Returns:
        RGBA, uint8 (height, width, 4).
    """
    blocks = [_cells(image, side, seed) for image in images]
    rows_each = math.ceil(len(blocks[0]) / _WIDEST)
    columns = math.ceil(len(blocks[0]) / rows_each)
    gap = max(4, side // 40)
    step = side + gap
    between = 2 * gap
    height = len(blocks) * (rows_each * step + between) - between + gap
    sheet = Image.new("RGBA", (columns * step + gap, height))
    for block, cells in enumerate(blocks):
        top = gap + block * (rows_each * step + between)
        for number, cell in enumerate(cells):
            place = (gap + number % columns * step, top + number // columns * step)
            sheet.paste(cell, place)
    return np.asarray(sheet)


def _cells(image: HeadMaps, side: int, seed: int) -> list[Image.Image]:
    size = fitted(image.picture.shape, side)
    smooth = cv2.INTER_AREA if side < max(image.picture.shape[:2]) else cv2.INTER_NEAREST
    picture: Any = cv2.resize(image.picture, size[::-1], interpolation=smooth)
    cells = [_labelled(picture, "image")]
    if image.objects is not None:
        objects = nearest(image.objects, *size)
        cells.append(_labelled(_paint_objects(picture, objects, seed), "truth"))
    best = None if image.jaccards is None else int(np.argmax(image.jaccards))
    for head, (heat, mask) in enumerate(zip(image.heat, image.masks, strict=True)):
        painted = _paint_head(picture, nearest(heat, *size), nearest(mask, *size))
        text = f"head {head + 1}"
        if image.jaccards is not None:
            text += f"   {100 * image.jaccards[head]:.1f} %"
        cells.append(_labelled(painted, text, framed=head == best))
    return cells


def _paint_objects(picture: Pixels, objects: NDArray[Any], seed: int) -> Pixels:
    """Objects in colours, void light, the rest of the picture grey and dim."""
    numbers = np.unique(objects[(objects != 0) & (objects != VOID)])
    painted = _grey(picture) * 0.5
    colours = palette(len(numbers), seed)
    for number, colour in zip(numbers, colours, strict=True):
        inside = objects == number
        painted[inside] = 0.35 * picture[inside] + 0.65 * colour
    painted[objects == VOID] = 225
    return _outline(painted.astype(np.uint8), np.isin(objects, numbers))


def _paint_head(picture: Pixels, heat: NDArray[Any], mask: NDArray[np.bool_]) -> Pixels:
    """Attention as colours, dim outside the mask."""
    level = heat / max(float(heat.max()), np.finfo(np.float32).tiny)
    colours: Any = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    painted = 0.4 * _grey(picture) + 0.6 * colours[..., ::-1]
    painted[~mask] *= 0.5
    return _outline(painted.astype(np.uint8), mask)


def _grey(picture: Pixels) -> NDArray[np.floating[Any]]:
    return np.asarray(picture.mean(-1, keepdims=True).repeat(3, -1))


def _outline(painted: Pixels, mask: NDArray[np.bool_]) -> Pixels:
    """A white line around a mask, with dark on both sides to be seen on anything."""
    line = contours(mask.astype(np.int64))
    halo = cv2.dilate(line.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    painted[halo] = painted[halo] // 4
    painted[line] = 255
    return painted


def _labelled(picture: Pixels, text: str, framed: bool = False) -> Image.Image:
    cell = Image.fromarray(picture)
    draw = ImageDraw.Draw(cell)
    size = max(11, max(cell.size) // 17)
    font = ImageFont.load_default(size)
    _, _, width, _ = draw.textbbox((0, 0), text, font=font)
    ground, ink = (_BEST, (0, 0, 0)) if framed else ((0, 0, 0), (255, 255, 255))
    if framed:
        draw.rectangle((0, 0, cell.width - 1, cell.height - 1), outline=_BEST, width=4)
    draw.rectangle((0, 0, width + size, int(1.5 * size)), fill=ground)
    draw.text((size / 2, 0.75 * size), text, fill=ink, font=font, anchor="lm")
    return cell
