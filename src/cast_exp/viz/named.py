"""Segments of one image with their names, as several methods have them."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from cast_exp.ops.labels import nearest
from cast_exp.output.pictures import fitted
from cast_exp.viz.draw import Labels, Pixels, titled_grid
from cast_exp.viz.semantic import class_colours, class_legend, paint_classes


def named_sheet(
    image: Pixels,
    rows: Sequence[tuple[Mapping[str, Labels], Sequence[str]]],
    seed: int = 0,
    side: int = 288,
) -> Pixels:
    """The image and its label maps, a row for each vocabulary with a legend of what occurs.

    Args:
        image: RGB, uint8 (h, w, 3).
        rows: For each vocabulary: label maps by title, int (H, W), as many in each, and the
            names of the labels.
        seed: See `palette`.
        side: Longer side of a picture, in pixels.

    Returns:
        The sheet, uint8 (height, width, 3).
    """
    parts = []
    for maps, names in rows:
        colours = class_colours(names, seed)
        size = fitted(next(iter(maps.values())).shape, side)
        shown: dict[str, Any] = {title: nearest(labels, *size) for title, labels in maps.items()}
        cells = [paint_classes(labels, colours) for labels in shown.values()]
        picture = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
        grid = titled_grid([[np.asarray(picture, np.uint8), *cells]], ["image", *shown])
        occur = np.unique(np.concatenate([labels.ravel() for labels in shown.values()]))
        occur = occur[occur < len(names)]
        legend = class_legend(
            [names[label] for label in occur], colours[occur], grid.shape[1], max(side // 18, 11)
        )
        parts += [grid, legend]
    return np.concatenate(parts)
