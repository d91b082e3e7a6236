"""CAST and its parts (stem, tokens, stages, groupings, fusion), and the baselines ViT and ToMe."""

from cast_exp.models.backbone import Backbone
from cast_exp.models.cast import CAST
from cast_exp.models.config import ModelConfig, ModelOptions, Size
from cast_exp.models.heads import SegmentationHead
from cast_exp.models.hierarchy import Attention, Hierarchy, Level
from cast_exp.models.mask_transformer import MaskTransformer
from cast_exp.models.pooling import Pooling
from cast_exp.models.registry import SIZES, create_model
from cast_exp.models.segmentation import SegmentationModel
from cast_exp.models.timm_model import TimmModel
from cast_exp.models.tome import ToMe
from cast_exp.models.vit import ViT

__all__ = [
    "CAST",
    "SIZES",
    "Attention",
    "Backbone",
    "Hierarchy",
    "Level",
    "MaskTransformer",
    "ModelConfig",
    "ModelOptions",
    "Pooling",
    "SegmentationHead",
    "SegmentationModel",
    "Size",
    "TimmModel",
    "ToMe",
    "ViT",
    "create_model",
]
