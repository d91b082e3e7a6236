"""Metrics: objects with `update` and `compute`, the same online and offline."""

from cast_exp.metrics.knn import KNNAccuracy
from cast_exp.metrics.superpixel import achievable_segmentation_accuracy, boundary_recall

__all__ = ["KNNAccuracy", "achievable_segmentation_accuracy", "boundary_recall"]
