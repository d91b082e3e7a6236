"""Scenes of drawn creatures, small enough for tests."""

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F

from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD, Scene
from cast_exp.data.datasets import Shapes, Split
from cast_exp.superpixels import Seeds


def shape_scenes(
    count: int, size: int = 64, superpixels: int = 49, creatures: int = 1, split: Split = "val"
) -> list[Scene]:
    """The first scenes of a split, with every kind of truth, all at one size.

    "regions" is one map: background, and each visible part of each creature.
    """
    dataset = Shapes(split, size=size, creatures=creatures)
    method = Seeds(superpixels, histogram_bins=5, iterations=4)
    scenes = []
    for index in range(count):
        item = dataset[index]
        image = F.to_dtype(F.pil_to_tensor(item["image"]), torch.float32, scale=True)[None]
        labels = method(image)
        regions = item["instance"].astype(np.int64) * 100 + item["parts"]
        scenes.append(
            Scene(
                F.normalize(image, IMAGENET_MEAN, IMAGENET_STD),
                labels,
                labels[0],
                {
                    "semantic": item["semantic"],
                    "instance": item["instance"],
                    "regions": [np.unique(regions, return_inverse=True)[1].reshape(size, size)],
                },
                index,
                dataset.path(index),
            )
        )
    return scenes
