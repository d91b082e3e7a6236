"""How many images have the class of their nearest neighbours."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from cast_exp.data import ImageDataModule
from cast_exp.evaluation.subject import Subject, check_recognition
from cast_exp.metrics import KNNAccuracy
from cast_exp.tasks.base import Readout, read_out


class KNN:
    """Weighted k-nearest-neighbour votes of training images on validation images.

    Args:
        images: Training and validation images.
        readout: What stands for an image.
        memory: Training images that vote; None for all.
        queries: Validation images they vote on; None for all.
        neighbours: How many vote on each.
        temperature: See `KNNAccuracy`.
        batch_size: Images encoded at a time.
    """

    headline: ClassVar[tuple[str, ...]] = ("top1",)

    def __init__(
        self,
        images: ImageDataModule,
        readout: Readout = "cls",
        memory: Annotated[int, Field(ge=1)] | None = None,
        queries: Annotated[int, Field(ge=1)] | None = None,
        neighbours: Annotated[int, Field(ge=1)] = 20,
        temperature: Annotated[float, Field(gt=0)] = 0.07,
        batch_size: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        self.images = images
        self.readout = readout
        self.memory = memory
        self.queries = queries
        self.neighbours = neighbours
        self.temperature = temperature
        self.batch_size = batch_size

    def check(self, subject: Subject | None = None) -> None:
        """Look for images of several classes, and for what is read out.

        Raises:
            UserError: Missing data, one class only, or a backbone without fusion block to read.
        """
        check_recognition(self.images, self.readout, subject)

    @torch.no_grad()
    def __call__(self, subject: Subject, device: torch.device, folder: Path) -> dict[str, float]:
        """Evaluate a backbone.

        Args:
            subject: What to evaluate.
            device: Where to work.
            folder: Not used; there is nothing to keep.

        Returns:
            "top1" and "top5" in 0..1.
        """
        metric = KNNAccuracy(self.images.num_classes, self.neighbours, self.temperature).to(device)
        roles: tuple[tuple[Literal["train", "val"], Literal["memory", "query"], int | None], ...]
        roles = (("train", "memory", self.memory), ("val", "query", self.queries))
        for split, role, limit in roles:
            for loaded in self.images.plain_dataloader(split, limit, self.batch_size):
                batch = self.images.prepare(loaded, device)
                hierarchy = subject.backbone(
                    batch["images"], batch["superpixels"], last_grouping=False
                )
                metric.update(read_out(hierarchy, self.readout), batch["label"], role)
        return {name: float(value) for name, value in metric.compute().items()}
