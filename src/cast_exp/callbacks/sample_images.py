"""The few images that a run is looked at by, always the same ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cast_exp.data import ImageDataModule, SceneDataModule
from cast_exp.data.datasets import Split
from cast_exp.data.transforms import evaluation_transform
from cast_exp.errors import UserError
from cast_exp.evaluation.figure_ground import objects_of
from cast_exp.ops import Superpixels

Objects = NDArray[np.int64]


@dataclass(frozen=True)
class SampleImages:
    """Images of one size.

    Attributes:
        images: Normalised, float (B, 3, H, W), on the CPU.
        superpixels: Their superpixels.
        objects: What is figure in each, if the data say so: 0 for none, 255 for void, int64 of any
            resolution; else empty.
    """

    images: Tensor
    superpixels: Superpixels
    objects: list[Objects]


def load_sample_images(data: LightningDataModule, split: Split, count: int) -> list[SampleImages]:
    """The first images of a split, in one batch, or one by one where they differ in size.

    Args:
        data: An `ImageDataModule` or a `SceneDataModule`.
        split: Where they come from.
        count: How many.

    Raises:
        UserError: None of them can be read.
    """
    samples = _scenes(data, split, count) if isinstance(data, SceneDataModule) else []
    if isinstance(data, ImageDataModule):
        for loaded in data.plain_dataloader(split, count, count):
            batch = data.prepare(loaded, "cpu")
            objects = _drawn_objects(data, split, batch["index"].tolist())
            samples.append(SampleImages(batch["images"], batch["superpixels"], objects))
    if not samples:
        raise UserError(f"none of the {split} images to draw can be read")
    return samples


def _scenes(data: SceneDataModule, split: Split, count: int) -> list[SampleImages]:
    scenes = list(data.scenes(split, count))
    grounded = data.semantic_classes[:1] == ["background"]
    return [
        SampleImages(
            scene.image,
            scene.superpixels,
            [objects_of(scene).numpy()] if grounded or "instance" in scene.truth else [],
        )
        for scene in scenes
    ]


def _drawn_objects(data: ImageDataModule, split: Split, indices: list[int]) -> list[Objects]:
    """Instances of raw items, cut as the plain images are."""
    cut = evaluation_transform(data.image_size, data.eval_crop, "nearest")
    items: list[dict[str, Any]] = [data.raw(split)[index] for index in indices]
    if not all("instance" in item for item in items):
        return []
    maps = [Image.fromarray(item["instance"].astype(np.uint8)) for item in items]
    return [cut(drawn)[0].numpy().astype(np.int64) for drawn in maps]
