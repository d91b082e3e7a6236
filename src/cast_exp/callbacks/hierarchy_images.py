"""Pictures of what the model sees in a few fixed images, over the course of training."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray
from pydantic import Field

from cast_exp.callbacks.pictures import Pictures, show
from cast_exp.callbacks.sample_images import SampleImages, load_sample_images
from cast_exp.callbacks.side_work import apart_from_training, backbone_of
from cast_exp.data.transforms import denormalise
from cast_exp.metrics import head_jaccards
from cast_exp.models import Hierarchy
from cast_exp.ops.labels import nearest
from cast_exp.output.pictures import to_bytes
from cast_exp.viz import hierarchy_sheet
from cast_exp.viz.head_maps import (
    HeadMaps,
    binary_masks,
    figure_ground_sheet,
    superpixel_heads,
)
from cast_exp.viz.overlays import mask_overlays


class HierarchyImages(Pictures):
    """Draws hierarchy and figure-ground masks of the same images before, during, after training.

    `<run>/images/step<n>.png` has superpixels and segments, `<run>/figure_ground/step<n>.png` the
    attention of the class token, with the mask of each head and, where the data have instances, how
    well it fits them all. TensorBoard gets both. So does W&B, and under "masks" the images
    with segments, heads and instances to lay over them; each key has a slider for the steps.

    Args:
        count: How many images, the first ones of the split.
        every_n_epochs: Draw at the end of every so many epochs; None for never.
        every_n_steps: Draw also after every so many steps; None for never.
        split: Where the images come from.
        figure_ground: Draw what the attention heads see, too.
        mass: Share of its attention that a head's mask holds.
        seed: Palette.
    """

    def __init__(
        self,
        count: Annotated[int, Field(ge=1)] = 8,
        every_n_epochs: Annotated[int, Field(ge=1)] | None = 1,
        every_n_steps: Annotated[int, Field(ge=1)] | None = None,
        split: Literal["train", "val"] = "val",
        figure_ground: bool = True,
        mass: Annotated[float, Field(gt=0, lt=1)] = 0.6,
        seed: int = 0,
    ) -> None:
        super().__init__(count, every_n_epochs, every_n_steps, split, seed)
        self.figure_ground = figure_ground
        self.mass = mass
        self._samples: list[SampleImages] = []

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what the network now sees in the sample images."""
        seen = list(zip(*self._look(trainer, pl_module), strict=True))
        show(trainer, "hierarchy", _stacked([self._levels(*each) for each in seen]))
        if self.figure_ground:
            maps = [image for each in seen for image in self._head_maps(*each)]
            sheet = figure_ground_sheet(maps, seed=self.seed)
            show(trainer, "figure_ground", sheet, folder="figure_ground")
            _overlay(trainer, seen, self.mass)

    def _look(
        self, trainer: Trainer, module: LightningModule
    ) -> tuple[list[SampleImages], list[Hierarchy]]:
        """The sample images, and what the network makes of each now."""
        backbone = backbone_of(module)
        options = {"attention": backbone.figure_block} if self.figure_ground else {}
        with apart_from_training(trainer, module):
            if not self._samples:
                data = trainer.datamodule  # type: ignore[attr-defined]
                self._samples = load_sample_images(data, self.split, self.count)
            return self._samples, [
                backbone(
                    sample.images.to(module.device), sample.superpixels.to(module.device), **options
                )
                for sample in self._samples
            ]

    def _levels(self, sample: SampleImages, hierarchy: Hierarchy) -> NDArray[np.uint8]:
        levels = [hierarchy.segmentation(level) for level in range(hierarchy.depth + 1)]
        return hierarchy_sheet(denormalise(sample.images), levels, self.seed)

    def _head_maps(self, sample: SampleImages, hierarchy: Hierarchy) -> list[HeadMaps]:
        assert hierarchy.attention is not None
        superpixels = hierarchy.superpixels.cpu().numpy()
        heat = superpixel_heads(hierarchy).float().cpu().numpy()
        masks = binary_masks(hierarchy, self.mass).cpu().numpy()
        segments = hierarchy.segmentation(hierarchy.attention.level).cpu()
        maps = []
        for image, picture in enumerate(to_bytes(denormalise(sample.images))):
            objects = jaccards = None
            if sample.objects:
                objects = nearest(sample.objects[image], *picture.shape[:2])
                heads = hierarchy.attention.heads[image].cpu()
                found = head_jaccards(heads, segments[image], torch.from_numpy(objects), self.mass)
                jaccards = found[0, :, 0].numpy()
            spread = superpixels[image]
            maps.append(
                HeadMaps(
                    picture, heat[image][:, spread], masks[image][:, spread], objects, jaccards
                )
            )
        return maps


def _stacked(sheets: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Sheets below each other, on white."""
    width = max(sheet.shape[1] for sheet in sheets)
    sides = [((0, 0), (0, width - sheet.shape[1]), (0, 0)) for sheet in sheets]
    padded = [np.pad(s, side, constant_values=255) for s, side in zip(sheets, sides, strict=True)]
    return np.concatenate(padded)


def _overlay(trainer: Trainer, seen: Sequence[tuple[SampleImages, Hierarchy]], mass: float) -> None:
    """Log the images to W&B with masks to lay over them."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    if not loggers:
        return
    pictures = [picture for sample, _ in seen for picture in to_bytes(denormalise(sample.images))]
    masks = []
    for sample, hierarchy in seen:
        objects = [nearest(drawn, *sample.images.shape[-2:]) for drawn in sample.objects]
        masks += mask_overlays(hierarchy, binary_masks(hierarchy, mass), objects)
    for logger in loggers:
        logger.log_image("masks", pictures, step=trainer.global_step, masks=masks)
