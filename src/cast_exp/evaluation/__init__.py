"""What a backbone is worth: evaluations of weights, which a run may end with."""

from cast_exp.evaluation.base import BaseEvaluation, Evaluation, MakeTrainer
from cast_exp.evaluation.classification import Classification
from cast_exp.evaluation.features import FeatureEvaluation
from cast_exp.evaluation.figure_ground import FigureGround
from cast_exp.evaluation.hierarchy import HierarchyEvaluation
from cast_exp.evaluation.knn import KNN
from cast_exp.evaluation.linear_probe import LinearProbe
from cast_exp.evaluation.open_vocabulary import OpenVocabulary
from cast_exp.evaluation.retrieval import Retrieval
from cast_exp.evaluation.scenes import SceneEvaluation
from cast_exp.evaluation.segment_clusters import SegmentClusters
from cast_exp.evaluation.segment_features import SegmentFeatureEvaluation
from cast_exp.evaluation.segment_probe import SegmentProbe
from cast_exp.evaluation.segmentation import Segmentation
from cast_exp.evaluation.subject import Subject

__all__ = [
    "KNN",
    "BaseEvaluation",
    "Classification",
    "Evaluation",
    "FeatureEvaluation",
    "FigureGround",
    "HierarchyEvaluation",
    "LinearProbe",
    "MakeTrainer",
    "OpenVocabulary",
    "Retrieval",
    "SceneEvaluation",
    "SegmentClusters",
    "SegmentFeatureEvaluation",
    "SegmentProbe",
    "Segmentation",
    "Subject",
]
