"""Raw datasets: decoded images with labels, before any transform."""

from cast_exp.data.datasets.ade20k import ADE20K, ADE20K_CLASSES
from cast_exp.data.datasets.base import NoSuchSplit, RawDataset, Split, UnreadableImage
from cast_exp.data.datasets.bsds500 import BSDS500
from cast_exp.data.datasets.cifar10 import CIFAR10
from cast_exp.data.datasets.densepose import DensePose
from cast_exp.data.datasets.hugging_face import HuggingFace
from cast_exp.data.datasets.hugging_face_stream import HuggingFaceStream
from cast_exp.data.datasets.image_folder import ImageFolder
from cast_exp.data.datasets.imagenet import ImageNet
from cast_exp.data.datasets.imagenet100 import ImageNet100, imagenet100_classes
from cast_exp.data.datasets.images import read_image
from cast_exp.data.datasets.part_imagenet import PartImageNet
from cast_exp.data.datasets.pascal_context import PASCAL_CONTEXT_CLASSES, PascalContext
from cast_exp.data.datasets.shapes import Shapes
from cast_exp.data.datasets.voc import VOC, VOC_CLASSES, VOCAugmented, VOCFolder
from cast_exp.data.datasets.webdataset import WebDataset
from cast_exp.data.datasets.webdataset_stream import WebDatasetStream

__all__ = [
    "ADE20K",
    "ADE20K_CLASSES",
    "BSDS500",
    "CIFAR10",
    "PASCAL_CONTEXT_CLASSES",
    "VOC",
    "VOC_CLASSES",
    "DensePose",
    "HuggingFace",
    "HuggingFaceStream",
    "ImageFolder",
    "ImageNet",
    "ImageNet100",
    "NoSuchSplit",
    "PartImageNet",
    "PascalContext",
    "RawDataset",
    "Shapes",
    "Split",
    "UnreadableImage",
    "VOCAugmented",
    "VOCFolder",
    "WebDataset",
    "WebDatasetStream",
    "imagenet100_classes",
    "read_image",
]
