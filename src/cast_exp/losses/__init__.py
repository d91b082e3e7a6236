"""What is minimised."""

from cast_exp.losses.moco import moco_loss
from cast_exp.losses.regularizers import CentroidContrastive, Clustering, Regularizer
from cast_exp.losses.segmentation import pixel_cross_entropy

__all__ = ["CentroidContrastive", "Clustering", "Regularizer", "moco_loss", "pixel_cross_entropy"]
