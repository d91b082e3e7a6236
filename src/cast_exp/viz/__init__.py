"""Pictures of what a model sees."""

from cast_exp.viz.comparison import comparison_sheet
from cast_exp.viz.draw import (
    hierarchy_sheet,
    nested_colours,
    paint_levels,
    palette,
    titled_grid,
)
from cast_exp.viz.figure_ground import (
    HeadMaps,
    binary_masks,
    figure_ground_sheet,
    superpixel_heads,
)
from cast_exp.viz.level_curves import level_curves
from cast_exp.viz.overlays import mask_overlays
from cast_exp.viz.semantic import SemanticPicture, class_colours, paint_classes, semantic_sheet

__all__ = [
    "HeadMaps",
    "SemanticPicture",
    "binary_masks",
    "class_colours",
    "comparison_sheet",
    "figure_ground_sheet",
    "hierarchy_sheet",
    "level_curves",
    "mask_overlays",
    "nested_colours",
    "paint_classes",
    "paint_levels",
    "palette",
    "semantic_sheet",
    "superpixel_heads",
    "titled_grid",
]
