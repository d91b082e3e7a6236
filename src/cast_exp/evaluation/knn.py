"""How many images have the class of their nearest neighbours."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from cast_exp.data import ImageDataModule
from cast_exp.data.features import Features
from cast_exp.data.loader import BatchLoader
from cast_exp.evaluation.base import Evaluation
from cast_exp.evaluation.subject import Subject, check_recognition
from cast_exp.tasks.base import Readout, read_out
from cast_exp.tasks.knn import knn_accuracy


class KNN(Evaluation):
    """Weighted k-nearest-neighbour votes of training images on validation images.

    Figures: "top1" and "top5" in 0..1.

    Args:
        images: Training and validation images.
        readout: What stands for an image.
        memory: Training images that vote; None for all.
        queries: Validation images they vote on; None for all.
        neighbours: How many vote on each.
        temperature: See `knn_hits`.
        batch_size: Images encoded at a time, on each device.
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
        super().__init__(images)
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

    def prepare(self) -> None:
        """Begin with nothing."""
        self.encoded: tuple[list[Features], list[Features]] = ([], [])

    def test_dataloader(self) -> list[BatchLoader]:
        """Images of the memory, and queries."""
        load = self.images.plain_dataloader
        return [
            load("train", self.memory, self.batch_size, shared=True),
            load("val", self.queries, self.batch_size, shared=True),
        ]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Finish a batch on its device."""
        return self.images.prepare(batch, self.device)

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int) -> None:
        """Encode a batch."""
        self.encoded[dataloader_idx].append(Features.of(batch, self._encode))

    def share(self) -> tuple[list[Features], list[Features]]:
        """What was encoded."""
        return self.encoded

    def compute(self, shares: Sequence[tuple[list[Features], list[Features]]]) -> dict[str, float]:
        """Let all vote."""
        memory, queries = (Features.joined(role) for role in zip(*shares, strict=True))
        settings = self.images.num_classes, self.neighbours, self.temperature
        return knn_accuracy(memory, queries, *settings, self.trainer.strategy.root_device)

    def _encode(self, batch: dict[str, Any]) -> Tensor:
        hierarchy = self.subject.backbone(
            batch["images"], batch["superpixels"], last_grouping=False
        )
        return read_out(hierarchy, self.readout)
