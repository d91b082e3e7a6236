"""Scenes of drawn creatures, small enough for tests."""

from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD, Scene, SceneDataModule
from cast_exp.data.datasets import Shapes, Split
from cast_exp.ops import Superpixels
from cast_exp.superpixels import Grid, Seeds


def shape_scenes(
    count: int, size: int = 64, superpixels: int = 49, creatures: int = 1, split: Split = "val"
) -> list[Scene]:
    """The first scenes of a split, with every kind of truth, all at one size."""
    dataset = Shapes(split, size=size, creatures=creatures)
    method = Seeds(superpixels, histogram_bins=5, iterations=4)
    scenes = []
    for index in range(count):
        item = dataset[index]
        image = F.to_dtype(F.pil_to_tensor(item["image"]), torch.float32, scale=True)[None]
        labels = method(image)
        scenes.append(
            Scene(
                F.normalize(image, IMAGENET_MEAN, IMAGENET_STD),
                Superpixels.of(labels),
                labels[0],
                {name: item[name] for name in ("semantic", "instance", "regions")},
                index,
                dataset.path(index),
            )
        )
    return scenes


def module(**options: Any) -> SceneDataModule:
    """Small scenes of drawn creatures, but for what the options say."""
    defaults = {
        "dataset": partial(Shapes, train=12, val=7, size=32),
        "superpixel": Grid(16),
        "batch_size": 4,
        "image_size": 32,
        "crop": 16,
        "workers": 0,
    }
    return SceneDataModule(**{**defaults, **options})


class Wide:
    """One picture of a given size with every kind of truth."""

    classes = ("image",)
    semantic_classes = ("background", "thing")

    def __init__(self, split: str, width: int, height: int) -> None:
        self.width, self.height = width, height

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        random = np.random.default_rng(0)
        shape = self.height, self.width
        smooth = Image.fromarray(random.integers(0, 256, (3, 4, 3), dtype=np.uint8))
        regions = random.integers(-1, 90, (2, *shape))
        return {
            "image": smooth.resize(shape[::-1], Image.Resampling.BICUBIC),
            "label": 0,
            "semantic": random.integers(0, 2, shape, dtype=np.uint8),
            "regions": list(regions),
        }

    def path(self, index: int) -> str:
        return "wide"
