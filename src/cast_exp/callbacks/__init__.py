"""What runs beside the training loop."""

from cast_exp.callbacks.checkpoints import ModelCheckpoint
from cast_exp.callbacks.hierarchy_images import HierarchyImages
from cast_exp.callbacks.knn_monitor import KNNMonitor
from cast_exp.callbacks.linear_probe_monitor import LinearProbeMonitor
from cast_exp.callbacks.lone_checkpoints import ExceptionCheckpoint, TimedCheckpoint
from cast_exp.callbacks.model_summary import ModelTable
from cast_exp.callbacks.nan_guard import NanGuard, NonFiniteLoss
from cast_exp.callbacks.one_batch import OneBatch
from cast_exp.callbacks.phase_times import PhaseTimes
from cast_exp.callbacks.profile import Profile
from cast_exp.callbacks.progress import ProgressBar
from cast_exp.callbacks.prune import Prune
from cast_exp.callbacks.run_record import RunRecord
from cast_exp.callbacks.semantic_images import SemanticImages
from cast_exp.callbacks.throughput import Throughput

__all__ = [
    "ExceptionCheckpoint",
    "HierarchyImages",
    "KNNMonitor",
    "LinearProbeMonitor",
    "ModelCheckpoint",
    "ModelTable",
    "NanGuard",
    "NonFiniteLoss",
    "OneBatch",
    "PhaseTimes",
    "Profile",
    "ProgressBar",
    "Prune",
    "RunRecord",
    "SemanticImages",
    "Throughput",
    "TimedCheckpoint",
]
