"""Sheets of images with the classes that they are taken for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cast_exp.output.pictures import fitted
from cast_exp.viz.draw import Pixels

_INK, _RIGHT, _WRONG = (40, 40, 40), (20, 125, 55), (190, 30, 40)
_LINE = 1.35  # distance of two lines of text, in sizes of its letters


@dataclass(frozen=True)
class NamedPicture:
    """An image and what it is taken for.

    Attributes:
        image: RGB, uint8 (H, W, 3).
        truth: Name of its class.
        predicted: Names and probabilities (0..1), the most probable first; as many for each image.
    """

    image: Pixels
    truth: str
    predicted: Sequence[tuple[str, float]]


def prediction_sheet(pictures: Sequence[NamedPicture], columns: int = 4, side: int = 224) -> Pixels:
    """Images in rows; below each its class, then what is predicted: green if right, else red.

    Args:
        pictures: What to draw; at least one.
        columns: Images in a row.
        side: Longer side of each, in pixels.

    Returns:
        The sheet on white, uint8 (height, width, 3).
    """
    size, gap = side // 14, side // 16
    font = ImageFont.load_default(size)
    below = int(size * _LINE * (1 + len(pictures[0].predicted))) + gap
    across, down = min(columns, len(pictures)), -(-len(pictures) // columns)
    width, height = across * (side + gap) + gap, down * (side + below + gap) + gap
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for number, picture in enumerate(pictures):
        left = gap + number % columns * (side + gap)
        top = gap + number // columns * (side + below + gap)
        shown = fitted(picture.image.shape, side)
        sheet.paste(Image.fromarray(picture.image).resize(shown[::-1]), (left, top))
        lines = [(f"true: {picture.truth}", _INK)]
        for name, share in picture.predicted:
            colour = _RIGHT if name == picture.truth else _WRONG
            lines.append((f"{100 * share:.0f} % {name}", colour))
        for line, (text, colour) in enumerate(lines):
            while font.getlength(text) > side:
                text = text.rstrip("…")[:-1] + "…"
            place = (left, top + side + size // 3 + int(line * size * _LINE))
            draw.text(place, text, fill=colour, font=font)
    return np.asarray(sheet)
