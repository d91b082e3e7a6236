"""Evaluations that look at the vectors of all validation images together."""

from abc import abstractmethod
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


class FeatureEvaluation(Evaluation):
    """Measures the vectors of validation images. One that is added says how: see `measure`.

    Args:
        images: Validation images.
        readout: What stands for an image.
        batch_size: Images encoded at a time, on each device.
    """

    headline: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        images: ImageDataModule,
        readout: Readout = "cls",
        batch_size: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        super().__init__(images)
        self.images = images
        self.readout = readout
        self.batch_size = batch_size

    @abstractmethod
    def measure(self, features: Tensor, labels: Tensor) -> dict[str, float]:
        """Make figures of all vectors.

        Args:
            features: Float32 (N, C), on the CPU, in the order of the data set.
            labels: Classes, int64 (N,).

        Returns:
            Figures by name.
        """

    def check(self, subject: Subject | None = None) -> None:
        """Look for images of several classes, and for what is read out.

        Raises:
            UserError: Missing data, one class only, or a backbone without fusion block to read.
        """
        check_recognition(self.images, self.readout, subject)

    def prepare(self) -> None:
        """Begin with nothing."""
        self.encoded: list[Features] = []

    def test_dataloader(self) -> BatchLoader:
        """This process's share of the validation images."""
        return self.images.plain_dataloader("val", None, self.batch_size, shared=True)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Finish a batch on its device."""
        return self.images.prepare(batch, self.device)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Encode a batch."""
        self.encoded.append(Features.of(batch, self._encode))

    def share(self) -> list[Features]:
        """What was encoded."""
        return self.encoded

    def compute(self, shares: Sequence[list[Features]]) -> dict[str, float]:
        """Measure all."""
        joined = Features.joined(shares)
        return self.measure(joined.features, joined.label)

    def _encode(self, batch: dict[str, Any]) -> Tensor:
        hierarchy = self.subject.backbone(
            batch["images"], batch["superpixels"], last_grouping=False
        )
        return read_out(hierarchy, self.readout)
