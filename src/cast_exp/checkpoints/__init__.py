"""Weights in files: ours, the official release's, published ones, and those on Hugging Face."""

from cast_exp.checkpoints.classifier import Classifier, load_classifier
from cast_exp.checkpoints.hub import push_to_hub, save_pretrained
from cast_exp.checkpoints.load import Weights, load_pretrained, load_projector
from cast_exp.checkpoints.segmentation import load_segmentation_head, load_segmentation_model

__all__ = [
    "Classifier",
    "Weights",
    "load_classifier",
    "load_pretrained",
    "load_projector",
    "load_segmentation_head",
    "load_segmentation_model",
    "push_to_hub",
    "save_pretrained",
]
