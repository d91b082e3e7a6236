"""CAST and its parts: stem, tokens, stages, groupings, fusion."""

from cast_exp.models.cast import CAST
from cast_exp.models.hierarchy import Hierarchy, Level
from cast_exp.models.pooling import Pooling
from cast_exp.models.pretrained import load_pretrained
from cast_exp.models.registry import SIZES, Size, create_model

__all__ = [
    "CAST",
    "SIZES",
    "Hierarchy",
    "Level",
    "Pooling",
    "Size",
    "create_model",
    "load_pretrained",
]
