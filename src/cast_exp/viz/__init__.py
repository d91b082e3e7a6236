"""Pictures of what a model sees."""

from cast_exp.viz.comparison import comparison_sheet
from cast_exp.viz.confusion import confusion_matrix
from cast_exp.viz.draw import (
    hierarchy_sheet,
    nested_colours,
    paint_levels,
    palette,
    titled_grid,
)
from cast_exp.viz.level_curves import level_curves
from cast_exp.viz.predictions import NamedPicture, prediction_sheet
from cast_exp.viz.semantic import SemanticPicture, class_colours, paint_classes, semantic_sheet

__all__ = [
    "NamedPicture",
    "SemanticPicture",
    "class_colours",
    "comparison_sheet",
    "confusion_matrix",
    "hierarchy_sheet",
    "level_curves",
    "nested_colours",
    "paint_classes",
    "paint_levels",
    "palette",
    "prediction_sheet",
    "semantic_sheet",
    "titled_grid",
]
