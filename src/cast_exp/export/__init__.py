"""Models in files that run without cast_exp."""

from cast_exp.export.exported import Exported
from cast_exp.export.formats import FORMATS

__all__ = ["FORMATS", "Exported"]
