"""Hierarchies of segments without a hierarchical model, to compare with."""

from cast_exp.baselines.clustering import cluster_levels
from cast_exp.baselines.merging import merge_levels
from cast_exp.baselines.spherical import spherical_levels

__all__ = ["cluster_levels", "merge_levels", "spherical_levels"]
