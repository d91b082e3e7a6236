"""Models to export, all tiny, and inputs that have empty superpixels and such between the cells."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cast_exp.export import Exported
from cast_exp.models import Backbone, Pooling, Size, create_model
from cast_exp.models.grouping import KMeans, KMedoids
from cast_exp.models.heads import SegmentationHead

SIDE, COUNT = (48, 32), 26
DENSE: dict[str, Any] = {"fusion": True, "sampling": "interpolated"}


def cast(grouping: Any = None, **options: Any) -> Backbone:
    pooling = Pooling((6, 3), grouping) if grouping else Pooling((6, 3))
    return create_model(Size(12, (1, 1), 3), pooling=pooling, image_size=32, **options)


def plain(family: Any, **options: Any) -> Backbone:
    return create_model(Size(12, (2,), 3, family), image_size=32, **options)


MODELS: dict[str, Callable[[], Exported]] = {
    "cast": lambda: Exported(cast(), SIDE, COUNT),
    "official": lambda: Exported(cast(mask_empty=False), SIDE, COUNT),
    "segmenter": lambda: Exported(cast(**DENSE), SIDE, COUNT, head=SegmentationHead(12, 5)),
    "recogniser": lambda: Exported(
        cast(fusion=True), SIDE, COUNT, head=nn.Linear(12, 4), readout="fused_mean"
    ),
    "levels": lambda: Exported(cast(), SIDE, COUNT, levels=(0.4, 0.2)),
    "kmeans": lambda: Exported(cast(KMeans), SIDE, COUNT),
    "kmedoids": lambda: Exported(cast(partial(KMedoids, seeding="random")), SIDE, COUNT),
    "vit": lambda: Exported(plain("vit"), SIDE, COUNT),
    "tome": lambda: Exported(plain("tome", merged=5, **DENSE), SIDE, COUNT),
}


def made(name: str) -> Exported:
    torch.manual_seed(0)
    return MODELS[name]()


def inputs(batch: int) -> tuple[Tensor, Tensor]:
    """Labels 7 and 25 own no pixel of the first image, and 24 none under a cell of the grid."""
    height, width = SIDE
    labels = torch.arange(24).view(6, 4).repeat_interleave(8, 0).repeat_interleave(8, 1)
    labels = labels.repeat(batch, 1, 1)
    labels[:, 1:4, 1:4] = 24
    labels[0][labels[0] == 7] = 6
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(batch, 3, height, width, generator=generator)
    image[-1] = 0.5  # all superpixels look alike
    return image, labels
