"""What an author of parts builds on; these names change only with a major version.

Parts live in a package of your own and are chosen by config files of your own: see
docs/own_parts.md. What else a part needs is torch's or Lightning's.
"""

from cast_exp.data import ImageDataModule, Scene, SceneDataModule
from cast_exp.data.datasets.base import NoSuchSplit, RawDataset, Split, UnreadableImage
from cast_exp.errors import UserError
from cast_exp.evaluation import Evaluation, FeatureEvaluation, SceneEvaluation, Subject
from cast_exp.losses import Regularizer
from cast_exp.models import Backbone, Hierarchy, Level
from cast_exp.models.grouping import Grouping, Ungrouped
from cast_exp.ops import Superpixels
from cast_exp.plugins import allow
from cast_exp.superpixels import HostMethod, SuperpixelMethod
from cast_exp.tasks import BaseTask

__all__ = [
    "Backbone",
    "BaseTask",
    "Evaluation",
    "FeatureEvaluation",
    "Grouping",
    "Hierarchy",
    "HostMethod",
    "ImageDataModule",
    "Level",
    "NoSuchSplit",
    "RawDataset",
    "Regularizer",
    "Scene",
    "SceneDataModule",
    "SceneEvaluation",
    "Split",
    "Subject",
    "SuperpixelMethod",
    "Superpixels",
    "Ungrouped",
    "UnreadableImage",
    "UserError",
    "allow",
]
