"""Every level of a hierarchy against human segmentations, beside simple baselines."""

from cast_exp.evaluation.hierarchy.agreement import HierarchyEvaluation
from cast_exp.evaluation.hierarchy.clustering import cluster_levels
from cast_exp.evaluation.hierarchy.merging import merge_levels
from cast_exp.evaluation.hierarchy.spherical import spherical_levels

__all__ = ["HierarchyEvaluation", "cluster_levels", "merge_levels", "spherical_levels"]
