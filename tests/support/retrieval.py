"""Small data and models for tests of segment retrieval."""

from functools import partial
from typing import Any

import torch

from cast_exp.data import SceneDataModule
from cast_exp.data.datasets import Shapes
from cast_exp.evaluation.subject import Subject
from cast_exp.models import Pooling, create_model
from cast_exp.models.heads import ContrastiveMLP
from cast_exp.superpixels import Seeds


class VoidOnTheLeft(Shapes):
    """Shapes of which a part is void: in every third image more than half."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        item["semantic"] = item["semantic"].copy()
        item["semantic"][:, : self.size // 5 * (3 if index % 3 == 0 else 1)] = 255
        return item


def scenes(
    dataset: Any = VoidOnTheLeft, train: int = 7, val: int = 4, size: int = 64
) -> SceneDataModule:
    """Two creatures of three classes in each image."""
    dataset = partial(
        dataset, train=train, val=val, size=48, classes=3, creatures=2, area=(0.4, 0.6)
    )
    superpixel = Seeds(49, histogram_bins=5, iterations=4)
    return SceneDataModule(dataset, superpixel, image_size=size, workers=0)


def subject(name: str = "cast_tiny", *, projector: bool = True, **options: Any) -> Subject:
    """An untrained backbone with a fusion block, and a projector whose statistics have moved."""
    torch.manual_seed(0)
    if name.startswith("cast"):
        options = {"pooling": Pooling((16, 8)), "sampling": "interpolated"} | options
    backbone = create_model(name, **({"fusion": True} | options)).eval()
    if not projector:
        return Subject(backbone)
    head = ContrastiveMLP(backbone.dim, 32, 16)
    head(torch.randn(64, backbone.dim))
    return Subject(backbone, head.eval())
