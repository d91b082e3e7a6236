"""Pictures of what a model sees."""

from cast_exp.viz.draw import (
    contours,
    hierarchy_sheet,
    nested_colours,
    paint_levels,
    palette,
    titled_grid,
)

__all__ = [
    "contours",
    "hierarchy_sheet",
    "nested_colours",
    "paint_levels",
    "palette",
    "titled_grid",
]
