"""Sheets of semantic segmentations: what was predicted, what is true, where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cast_exp.data import Scene
from cast_exp.models.segmentation import Prediction
from cast_exp.ops.labels import nearest
from cast_exp.output.pictures import fitted
from cast_exp.viz.draw import Labels, Pixels, outlined, paint_levels, palette, titled_grid

_BACKGROUND = (40, 40, 40)
_VOID = ((190, 190, 190), (140, 140, 140))  # stripes
_STRIPE = 3
_WRONG = (220, 30, 40)


@dataclass(frozen=True)
class SemanticPicture:
    """What there is to draw of an image, all of one size.

    Attributes:
        image: RGB, uint8 (H, W, 3).
        levels: Segments from fine (superpixels) to coarse, int64 (H, W) each.
        prediction: Class of each pixel, int64 (H, W).
        truth: Likewise; 255 for void.
    """

    image: Pixels
    levels: Sequence[Labels]
    prediction: Labels
    truth: Labels

    @classmethod
    def of(cls, scene: Scene, predicted: Prediction) -> Self:
        """What there is to draw of a scene, at the size of its truth."""
        levels = [labels[predicted.superpixels].numpy() for labels in predicted.levels]
        truth = np.asarray(scene.truth["semantic"], np.int64)
        return cls(scene.pixels, levels, predicted.pixels.numpy(), truth)


def class_colours(classes: Sequence[str], seed: int = 0) -> Pixels:
    """Colours of classes: those of `palette` in their order, nearly black for a background.

    Args:
        classes: Names of the classes; only a first "background" is told from the others.
        seed: See `palette`.

    Returns:
        RGB, uint8 (classes, 3).
    """
    if classes and classes[0] == "background":
        background = np.array([_BACKGROUND], np.uint8)
        return np.concatenate([background, palette(len(classes) - 1, seed)])
    return palette(len(classes), seed)


def paint_classes(labels: Labels, colours: Pixels) -> Pixels:
    """Paint a label map; what is no class (void) is hatched in grey.

    Args:
        labels: Class of each pixel, int (H, W).
        colours: Of the classes, uint8 (K, 3).

    Returns:
        uint8 (H, W, 3).
    """
    void = (labels < 0) | (labels >= len(colours))
    painted = colours[np.where(void, 0, labels)]
    painted[void] = _hatching(*labels.shape)[void]
    return painted


def error_map(image: Pixels, prediction: Labels, truth: Labels, classes: int) -> Pixels:
    """Paint wrong pixels red on a pale grey copy of the image, and hatch where truth is void.

    Returns:
        uint8 (H, W, 3).
    """
    grey = image.mean(-1, keepdims=True)
    painted = np.repeat(155 + 0.35 * grey, 3, -1).astype(np.uint8)
    void = (truth < 0) | (truth >= classes)
    painted[prediction != truth] = _WRONG
    painted[void] = _hatching(*truth.shape)[void]
    return painted


def semantic_sheet(
    pictures: Sequence[SemanticPicture], classes: Sequence[str], seed: int = 0, side: int = 384
) -> Pixels:
    """One row for each image: image, superpixels, coarser segments, prediction, truth and errors.

    Images are shown at one length of their longer sides. Below them stand the colours of the
    classes.

    Args:
        pictures: What to draw; all have as many levels.
        classes: Names of the classes.
        seed: See `palette`.
        side: Longer side of each picture, in pixels.

    Returns:
        The sheet, uint8 (height, width, 3).
    """
    colours = class_colours(classes, seed)
    rows: list[list[Pixels]] = []
    for picture in pictures:
        image, prediction, truth = (
            _fit(each, side) for each in (picture.image, picture.prediction, picture.truth)
        )
        levels = [_fit(labels, side) for labels in picture.levels]
        painted = paint_levels(levels, seed)
        cells = [
            *(image, *map(outlined, [image, *painted[1:]], levels)),
            paint_classes(prediction, colours),
            paint_classes(truth, colours),
            error_map(image, prediction, truth, len(classes)),
        ]
        rows.append(cells)
    height, width = (max(row[0].shape[axis] for row in rows) for axis in (0, 1))
    rows = [[_centred(cell, height, width) for cell in row] for row in rows]
    titles = ["image", "superpixels", *(f"level {n}" for n in range(1, len(pictures[0].levels)))]
    grid = titled_grid(rows, [*titles, "prediction", "ground truth", "wrong"])
    legend = class_legend([*classes, "void"], colours, grid.shape[1], side // 18)
    return np.concatenate([grid, legend])


def class_legend(classes: Sequence[str], colours: Pixels, width: int, size: int) -> Pixels:
    """Names of classes beside their colours, in as many lines as they take.

    Args:
        classes: The names; those beyond the colours are hatched as void.
        colours: Of the classes, uint8 (K, 3).
        width: Of the legend, in pixels.
        size: Of the letters, in pixels.

    Returns:
        uint8 (height, width, 3).
    """
    font = ImageFont.load_default(size)
    places, rows = _in_lines([font.getlength(name) + 4 * size for name in classes], size, width)
    legend = Image.new("RGB", (width, 2 * size * rows + size // 2), (255, 255, 255))
    draw = ImageDraw.Draw(legend)
    for number, (left, row) in enumerate(places):
        top = 2 * size * row + size // 2
        swatch = paint_classes(np.full((size, 2 * size), number), colours)
        legend.paste(Image.fromarray(swatch), (left, top))
        middle = (left + 2 * size + size // 2, top + size / 2)
        draw.text(middle, classes[number], fill=_BACKGROUND, font=font, anchor="lm")
    return np.asarray(legend)


def _in_lines(
    lengths: Sequence[float], margin: int, width: int
) -> tuple[list[tuple[int, int]], int]:
    """Left end and line of each entry of a legend, and the number of lines; in pixels."""
    places, x, line = [], margin, 0
    for length in map(int, lengths):
        if x > margin and x + length > width:
            x, line = margin, line + 1
        places.append((x, line))
        x += length
    return places, line + 1


def _hatching(height: int, width: int) -> Pixels:
    y, x = np.mgrid[:height, :width]
    return np.asarray(np.array(_VOID, np.uint8)[(x + y) // _STRIPE % 2])


def _fit(pixels: NDArray[Any], side: int) -> NDArray[Any]:
    """Bring the longer side of a picture or a label map to `side`, without smoothing."""
    size = fitted(pixels.shape, side)
    if pixels.ndim == 2:
        return nearest(pixels, *size)
    return np.moveaxis(nearest(np.moveaxis(pixels, -1, 0), *size), 0, -1)


def _centred(cell: Pixels, height: int, width: int) -> Pixels:
    """Put a picture in the middle of a white one."""
    lacking = (height - cell.shape[0], width - cell.shape[1], 0)
    margins = [(pixels // 2, pixels - pixels // 2) for pixels in lacking]
    return np.pad(cell, margins, constant_values=255)
