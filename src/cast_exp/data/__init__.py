"""Data: raw datasets, views, superpixels in the loader, and batches that can be resumed."""

from cast_exp.data.base import RawDataModule
from cast_exp.data.datamodule import ImageDataModule
from cast_exp.data.deit import DeiT
from cast_exp.data.mixing import Mixing
from cast_exp.data.scene import Scene
from cast_exp.data.scene_datamodule import SceneDataModule
from cast_exp.data.transforms import IMAGENET_MEAN, IMAGENET_STD, Augmentation, CropFlip, TwoViews

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Augmentation",
    "CropFlip",
    "DeiT",
    "ImageDataModule",
    "Mixing",
    "RawDataModule",
    "Scene",
    "SceneDataModule",
    "TwoViews",
]
