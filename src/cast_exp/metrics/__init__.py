"""Metrics: objects with `update` and `compute`, the same online and offline."""

from cast_exp.metrics.knn import KNNAccuracy

__all__ = ["KNNAccuracy"]
