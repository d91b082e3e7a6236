"""What is minimised."""

from cast_exp.losses.moco import moco_loss
from cast_exp.losses.regularizers import (
    CentroidContrastive,
    Clustering,
    NormalizedCut,
    Regularizer,
    SegmentContrastive,
)
from cast_exp.losses.segmentation import enlarged_cross_entropy, pixel_cross_entropy

__all__ = [
    "CentroidContrastive",
    "Clustering",
    "NormalizedCut",
    "Regularizer",
    "SegmentContrastive",
    "enlarged_cross_entropy",
    "moco_loss",
    "pixel_cross_entropy",
]
