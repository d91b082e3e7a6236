"""Procedural pictures of creatures with complete ground truth."""

from cast_exp.data.datasets.shapes.creatures import PART_GROUPS, PARTS, SPECIES
from cast_exp.data.datasets.shapes.dataset import Shapes

__all__ = ["PARTS", "PART_GROUPS", "SPECIES", "Shapes"]
