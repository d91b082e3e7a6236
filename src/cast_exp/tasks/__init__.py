"""What a backbone is trained for."""

from cast_exp.tasks.base import BaseTask, Readout
from cast_exp.tasks.classification import ClassificationTask
from cast_exp.tasks.linear_probe import LinearProbeTask
from cast_exp.tasks.moco import MoCoTask
from cast_exp.tasks.segmentation import SegmentationTask

__all__ = [
    "BaseTask",
    "ClassificationTask",
    "LinearProbeTask",
    "MoCoTask",
    "Readout",
    "SegmentationTask",
]
