"""What is minimised."""

from cast_exp.losses.moco import moco_loss
from cast_exp.losses.regularizers import CentroidContrastive, Clustering, Regularizer

__all__ = ["CentroidContrastive", "Clustering", "Regularizer", "moco_loss"]
