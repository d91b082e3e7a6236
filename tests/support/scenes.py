"""Scenes of drawn creatures, small enough for tests."""

import torch
from torchvision.transforms.v2 import functional as F

from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD, Scene
from cast_exp.data.datasets import Shapes, Split
from cast_exp.superpixels import Seeds


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
                labels,
                labels[0],
                {name: item[name] for name in ("semantic", "instance", "regions")},
                index,
                dataset.path(index),
            )
        )
    return scenes
