"""Evaluations of what can be told of the classes of pixels by frozen features of segments."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from cast_exp.data import Scene, SceneDataModule
from cast_exp.data.scene_samples import SceneLoader
from cast_exp.distributed import rank
from cast_exp.errors import UserError
from cast_exp.evaluation.base import Evaluation
from cast_exp.evaluation.retrieval.patches import SquareNumber
from cast_exp.evaluation.retrieval.score import Ceiling
from cast_exp.evaluation.retrieval.segments import SegmentEncoder
from cast_exp.evaluation.subject import Subject
from cast_exp.metrics import SegmentationIoU, count_table
from cast_exp.models.tokens import Sampling
from cast_exp.output.files import write_csv

LevelChoice = Annotated[int, Field(ge=0)] | Literal["finest"] | None


@dataclass(frozen=True)
class SegmentFeatures:
    """Segments of one scene or of many.

    Attributes:
        features: Unit features, float32 (S, D).
        counts: Pixels of each class in each, void left out, int64 (S, classes).
    """

    features: Tensor
    counts: Tensor

    @classmethod
    def joined(cls, shares: Sequence[dict[int, "SegmentFeatures"]], split: str) -> Self:
        """Those of all processes, in the order of the data set.

        Raises:
            UserError: There are none.
        """
        scenes = {index: found for share in shares for index, found in share.items()}
        if not scenes:
            raise UserError(f"there is no {split} image, or none can be read")
        ordered = [scenes[index] for index in sorted(scenes)]
        return cls(
            torch.cat([scene.features for scene in ordered]),
            torch.cat([scene.counts for scene in ordered]),
        )


class SegmentFeatureEvaluation(Evaluation):
    """Gives each validation segment one class, by features of segments alone.

    The backbone is frozen. Features are fused ones, of unit length; those of a coarser segment are
    the direction of the sum over its pixels. One that is added says which class a segment gets: see
    `predict`. All pixels of all validation images are counted in one table, void left out.

    Figures, in 0..1: "miou", "accuracy" (of pixels), and "ceiling", the mIoU if each segment took
    the class that most of it has. Files: `per_class.csv`.

    Args:
        scenes: Training and validation images with "semantic" truth.
        level: Level of the hierarchy whose segments are taken, 0 being the superpixels; "finest"
            for the first grouping, None for the coarsest.
        segments: Segments of a ViT, which has none of its own; a square number.
        limit: At most that many training images, whose features must fit into memory; None for all.
        sampling: How superpixels read the feature grid, however the model was pretrained; None for
            the way it was.
    """

    headline: ClassVar[tuple[str, ...]] = ("miou", "accuracy", "ceiling")

    def __init__(
        self,
        scenes: SceneDataModule,
        level: LevelChoice = 0,
        segments: SquareNumber = 36,
        limit: Annotated[int, Field(ge=1)] | None = None,
        sampling: Sampling | None = "interpolated",
    ) -> None:
        super().__init__(scenes)
        self.scenes = scenes
        self.level: LevelChoice = level
        self.segments = segments
        self.limit = limit
        self.sampling = sampling

    @abstractmethod
    def predict(self, train: SegmentFeatures, val: SegmentFeatures) -> Tensor:
        """Class of each validation segment, int64 (S,)."""

    def check(self, subject: Subject | None = None) -> None:
        """Look for images with semantic truth in both splits, and for features of segments.

        Raises:
            UserError: They are missing, or have none; the backbone has no fusion block or level.
        """
        if subject is not None:
            self._encoder(subject).chosen_levels(subject.backbone.look().depth)
        self.scenes.need("semantic", "train")
        self.scenes.need("semantic", "val")

    def prepare(self) -> None:
        """Begin with nothing."""
        self.encoder = self._encoder(self.subject)
        self.encoded: tuple[dict[int, SegmentFeatures], dict[int, SegmentFeatures]] = ({}, {})

    def test_dataloader(self) -> list[SceneLoader]:
        """This process's share of the images."""
        return [
            self.scenes.scenes("train", self.limit, shared=True),
            self.scenes.scenes("val", shared=True),
        ]

    def transfer_batch_to_device(
        self, batch: Scene, device: torch.device, dataloader_idx: int
    ) -> Scene:
        """Leave the scene where it is: only the network needs it elsewhere."""
        return batch

    def test_step(self, scene: Scene, batch_idx: int, dataloader_idx: int) -> None:
        """Keep the features of a scene, and what is drawn on its segments."""
        segments = self.encoder(scene.to(self.device))
        (level,) = segments.chosen
        truth = torch.as_tensor(scene.truth["semantic"]).long()
        counts = segments.counts(truth, self.scenes.num_classes)[:, :-1]
        found = SegmentFeatures(segments.prototypes(level), segments.total(counts, level))
        self.encoded[dataloader_idx][scene.index] = found

    def share(self) -> tuple[dict[int, SegmentFeatures], dict[int, SegmentFeatures]]:
        """What was encoded, by place in the data set."""
        return self.encoded

    def compute(
        self, shares: Sequence[tuple[dict[int, SegmentFeatures], dict[int, SegmentFeatures]]]
    ) -> dict[str, float]:
        """Give all validation segments a class, and count.

        Raises:
            UserError: There is no image.
        """
        train = SegmentFeatures.joined([trained for trained, _ in shares], "training")
        val = SegmentFeatures.joined([asked for _, asked in shares], "validation")
        classes = self.scenes.num_classes
        score, ceiling = SegmentationIoU(classes, sync_on_compute=False), Ceiling(classes)
        score.update_table(count_table(self.predict(train, val), val.counts))
        ceiling.update(val.counts)
        found = score.compute()
        if rank() == 0:
            rows = zip(self.scenes.semantic_classes, found["iou"].tolist(), strict=True)
            write_csv(self.folder / "per_class.csv", [("class", "iou"), *rows])
        return {
            "miou": float(found["miou"]),
            "accuracy": float(found["accuracy"]),
            "ceiling": ceiling.compute(),
        }

    def _encoder(self, subject: Subject) -> SegmentEncoder:
        return SegmentEncoder(subject, self.level, "fused", self.segments, self.sampling)
