"""How right the classes of pixels are that a fine-tuned model gives."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from cast_exp.checkpoints.files import fingerprint
from cast_exp.data import Scene, SceneDataModule
from cast_exp.distributed import rank
from cast_exp.errors import UserError
from cast_exp.evaluation.confusion import write_confusion
from cast_exp.evaluation.records import Record, dense, sparse
from cast_exp.evaluation.scenes import Draw, SceneEvaluation
from cast_exp.evaluation.subject import Subject, check_classes
from cast_exp.metrics import SegmentationScore
from cast_exp.metrics.boundary import Tolerance
from cast_exp.models import SegmentationModel
from cast_exp.models.segmentation import Prediction
from cast_exp.output.files import write_csv
from cast_exp.viz import SemanticPicture, semantic_sheet
from cast_exp.viz.draw import Pixels


class Segmentation(SceneEvaluation):
    """Semantic segmentation after fine-tuning, as its validation has it.

    It needs a checkpoint with a head for segmentation, and the data that this was trained on.

    Figures, in 0..1: "miou", "pixel_accuracy", "mean_accuracy" (over classes), "boundary_f",
    "ceiling" (the mIoU if each superpixel took the class that most of it has) and
    "ceiling_level<number>" of the segments at each level.

    Files: `images.jsonl`, from which an interrupted evaluation goes on; `per_class.csv`;
    `confusion.csv`, `confused.csv` (see `write_confusion`); `pictures/*.png`.

    Args:
        scenes: Validation images with "semantic"; no others are needed.
        tolerance: Distance up to which a boundary counts as found, as a share of the diagonal.
        limit: At most that many validation images; None for all.
        pictures: Draw that many images, the first ones.
    """

    headline: ClassVar[tuple[str, ...]] = (
        "miou",
        "pixel_accuracy",
        "mean_accuracy",
        "boundary_f",
        "ceiling",
    )

    def __init__(
        self,
        scenes: SceneDataModule,
        tolerance: Tolerance = 0.0075,
        limit: Annotated[int, Field(ge=1)] | None = None,
        pictures: Annotated[int, Field(ge=0)] = 8,
    ) -> None:
        super().__init__(scenes, ["val"], limit, pictures)
        self.tolerance = tolerance

    def check(self, subject: Subject | None = None) -> None:
        """Look for images with semantic truth, and for a head that was trained on their classes.

        Raises:
            UserError: They are missing, or have none; no head, or one of other classes.
        """
        self.scenes.need("semantic", windows=True)
        if subject is None:
            return
        if subject.segmenter is None:
            raise UserError(
                "segmentation: there is no head for segmentation; give a checkpoint of a "
                "fine-tuning, such as of experiment=voc_finetune, or choose another evaluation "
                "(evaluate=[...])"
            )
        model = subject.segmenter
        check_classes("segmentation", model.num_classes, model.classes, self._names)

    def prepare(self) -> None:
        """Look what is done and what is to do."""
        self.check(self.subject)
        super().prepare()

    def key(self) -> dict[str, Any]:
        """What the figures of an image depend on."""
        return {
            "weights": fingerprint(self._model),
            "model": str(self._model.backbone.config),
            "tolerance": self.tolerance,
        }

    def measure(self, scene: Scene) -> tuple[Record, Draw]:
        """The score of a scene, as `sparse` values."""
        there = scene.to(self.device)
        predicted = self._model.predict(
            there.image,
            there.superpixels,
            scene.full_superpixels,
            last_grouping=True,
            windows=there.windows,
        )
        score = self._no_score()
        truth = torch.as_tensor(scene.truth["semantic"]).long()
        score.update(
            predicted.pixels, predicted.superpixels, predicted.levels, truth, predicted.paint
        )
        record = {name: sparse(value) for name, value in score.tensors().items()}
        return record, partial(self._sheet, scene, predicted)

    def figures(self, records: Sequence[Record]) -> dict[str, float]:
        """Add the scores up; what is to be known of each class is written.

        Raises:
            UserError: There was no image.
        """
        if not records:
            raise UserError("there is no validation image, or none can be read")
        score = self._no_score()
        like = score.tensors()
        for record in records:
            score.add({name: dense(record[name], value) for name, value in like.items()})
        if rank() == 0:
            self._write_classes(score)
        return {name: float(value) for name, value in score.compute().items()}

    @property
    def _names(self) -> list[str]:
        names: list[str] = self.scenes.raw("val").semantic_classes  # type: ignore[attr-defined]
        return names

    @property
    def _model(self) -> SegmentationModel:
        assert self.subject.segmenter is not None
        return self.subject.segmenter

    def _no_score(self) -> SegmentationScore:
        config = self._model.backbone.config
        levels = len(config.levels) if config else 0
        classes = self._model.num_classes
        return SegmentationScore(classes, levels, self.tolerance, sync_on_compute=False)

    def _write_classes(self, score: SegmentationScore) -> None:
        names, table = self._names, score.iou.table
        write_confusion(self.folder, table.numpy(), names, names)
        columns = {
            "pixels": table.sum(1),
            "predicted_pixels": table.sum(0),
            "iou": score.iou.compute()["iou"],
            "accuracy": table.diagonal() / table.sum(1),
            "boundary_f": score.boundary.compute()["boundary_f_class"],
        }
        rows = zip(names, *(values.tolist() for values in columns.values()), strict=True)
        write_csv(self.folder / "per_class.csv", [("class", *columns), *rows])

    def _sheet(self, scene: Scene, predicted: Prediction) -> Pixels:
        picture = SemanticPicture.of(scene, predicted)
        return semantic_sheet([picture], self._names)
