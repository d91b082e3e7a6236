"""Metrics: objects with `update` and `compute`, the same online and offline."""

from cast_exp.metrics.boundary import BoundaryF
from cast_exp.metrics.head_jaccard import FigureGroundJaccard, head_jaccards
from cast_exp.metrics.knn import knn_hits
from cast_exp.metrics.region_agreement import HierarchyMetrics
from cast_exp.metrics.segmentation import SegmentationIoU, count_table
from cast_exp.metrics.segmentation_score import SegmentationScore
from cast_exp.metrics.superpixel import achievable_segmentation_accuracy, boundary_recall

__all__ = [
    "BoundaryF",
    "FigureGroundJaccard",
    "HierarchyMetrics",
    "SegmentationIoU",
    "SegmentationScore",
    "achievable_segmentation_accuracy",
    "boundary_recall",
    "count_table",
    "head_jaccards",
    "knn_hits",
]
