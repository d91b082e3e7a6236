"""What a backbone is trained for."""

from cast_exp.tasks.base import BaseTask, Readout
from cast_exp.tasks.moco import MoCoTask

__all__ = ["BaseTask", "MoCoTask", "Readout"]
