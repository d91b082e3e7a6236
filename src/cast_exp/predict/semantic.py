"""The classes of a fine-tuned checkpoint on a picture."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cast_exp.ops.labels import nearest
from cast_exp.predict.files import compact_json, png
from cast_exp.predict.photo import Pixels, shrunk
from cast_exp.predict.tree import Integers
from cast_exp.viz import class_colours
from cast_exp.viz.draw import outlined
from cast_exp.viz.outlines import roomiest
from cast_exp.viz.semantic import class_legend

_OVERLAY = 1600
"""Longer side of the overlay at most, in pixels."""
_TINT = 0.5


def semantic_files(
    labels: Integers, classes: Sequence[str], pixels: Pixels, name: str = "semantic"
) -> dict[str, bytes]:
    """Outputs of the task by name.

    `semantic.png` has the class of each pixel (with a palette, to be looked at; of more than 256
    classes in 16 bits, without), `semantic.json` the area of each class, and
    `semantic_overlay.png` shows the classes on the photo: in colours, with contours, and by name.

    Args:
        labels: Class of each pixel, int (H, W).
        classes: Their names.
        pixels: The photo, uint8 (H, W, 3).
        name: What files are called instead of `semantic`.
    """
    colours = class_colours(classes)
    areas = np.bincount(labels.ravel(), minlength=len(classes))
    header = {"width": labels.shape[1], "height": labels.shape[0]}
    rows = [
        {"class": number, "name": called, "area": int(area), "share": round(area / labels.size, 4)}
        for number, (called, area) in enumerate(zip(classes, areas, strict=True))
        if area
    ]
    small = shrunk(pixels, _OVERLAY)
    overlay = _overlay(small, nearest(labels, *small.shape[:2]), classes, colours)
    return {
        f"{name}.png": _with_palette(labels, colours),
        f"{name}_overlay.png": png(overlay),
        f"{name}.json": compact_json(header, "classes", rows),
    }


def _with_palette(labels: Integers, colours: Pixels) -> bytes:
    if len(colours) > 1 << 8:
        return png(labels.astype(np.uint16))
    image = Image.fromarray(labels.astype(np.uint8), "P")
    image.putpalette(colours.tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _overlay(pixels: Pixels, labels: Integers, classes: Sequence[str], colours: Pixels) -> Pixels:
    """The classes on the photo, named where there is room, with a legend below."""
    tinted = ((1 - _TINT) * pixels + _TINT * colours[labels]).astype(np.uint8)
    sheet = Image.fromarray(outlined(tinted, labels))
    draw = ImageDraw.Draw(sheet)
    height, width = labels.shape
    size = max(11, max(height, width) // 40)
    font = ImageFont.load_default(size)
    for number, (column, line, room) in roomiest(labels).items():
        if room > size:
            draw.text(
                (column, line),
                classes[number],
                fill="white",
                font=font,
                anchor="mm",
                stroke_width=max(2, size // 8),
                stroke_fill="black",
            )
    share = np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
    shown = [number for number in np.argsort(-share, kind="stable") if share[number]]
    texts = [f"{classes[number]}  {share[number]:.1%}" for number in shown]
    return np.concatenate([np.asarray(sheet), class_legend(texts, colours[shown], width, size)])
