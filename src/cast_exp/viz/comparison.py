"""One image as several methods segment it, beside what people have drawn."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from cast_exp.ops.labels import contours, nearest
from cast_exp.output.pictures import fitted
from cast_exp.viz.draw import Labels, Pixels, paint_levels, titled_grid


def comparison_sheet(
    image: Pixels,
    drawn: Sequence[Labels],
    methods: Mapping[str, Sequence[Labels]],
    seed: int = 0,
    side: int = 240,
) -> Pixels:
    """A row for each level, a column for each method; the first columns are image and truth.

    Colours agree over the levels of a method, as `paint_levels` has them.

    Args:
        image: RGB, uint8 (h, w, 3).
        drawn: Ground truth, int (H, W) with -1 for void; as many as fit are shown, one in a row.
        methods: By name, segmentations from fine to coarse, int (H, W); as many of each.
        seed: See `palette`.
        side: Longer side of a picture, in pixels.

    Returns:
        The sheet with titles, uint8 (height, width, 3).
    """
    size = fitted(drawn[0].shape, side)
    blank = np.full((*size, 3), 255, dtype=np.uint8)
    columns = {
        "image": [cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)],
        "people": [_painted([labels], size, seed)[0] for labels in drawn],
    }
    columns |= {name: _painted(levels, size, seed) for name, levels in methods.items()}
    rows = len(next(iter(methods.values())))
    filled = [(cells + [blank] * rows)[:rows] for cells in columns.values()]
    return titled_grid(list(zip(*filled, strict=True)), list(columns))


def _painted(levels: Sequence[Labels], size: tuple[int, int], seed: int) -> list[Pixels]:
    """Levels in colours with white contours; void is white, too."""
    small = [nearest(labels, *size) for labels in levels]
    painted = paint_levels([labels + 1 for labels in small], seed)
    for labels, pixels in zip(small, painted, strict=True):
        pixels[contours(labels) | (labels < 0)] = 255
    return painted
