"""Semantic segmentation by retrieval: segments take the class of the most similar ones."""

import csv
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from rich.progress import track
from torch import Tensor

from cast_exp.data import Scene, SceneDataModule
from cast_exp.errors import UserError
from cast_exp.evaluation.retrieval.memory import Entries, SegmentMemory
from cast_exp.evaluation.retrieval.score import Ceiling, LevelScore
from cast_exp.evaluation.retrieval.segments import Embedding, SegmentEncoder, Segments
from cast_exp.evaluation.retrieval.votes import nearest_votes
from cast_exp.evaluation.subject import Subject
from cast_exp.metrics.boundary import Tolerance
from cast_exp.models.files import fingerprint
from cast_exp.models.tokens import Sampling
from cast_exp.viz.draw import Pixels
from cast_exp.viz.semantic import SemanticPicture, semantic_sheet

log = logging.getLogger(__name__)

_IMAGES = 32  # whose segments are searched for in one pass over the memory


@dataclass(frozen=True)
class Encoded:
    """What retrieval needs of a scene.

    Attributes:
        segments: Its segments.
        truth: Classes of its pixels, 255 for void, int64 (H, W).
        counts: Pixels of each class in each part, void last, int64 (N, classes + 1).
        index: Place of the image in its data set.
        drawn: The image, if it is to be drawn.
    """

    segments: Segments
    truth: Tensor
    counts: Tensor
    index: int
    drawn: Pixels | None

    def entries(self) -> Entries:
        """Prototypes and most frequent classes, void being one; ties go to the lowest."""
        return {
            level: (
                self.segments.prototypes(level),
                self.segments.total(self.counts, level).argmax(1),
            )
            for level in self.segments.chosen
        }

    def judge(self, predicted: Tensor, level: int, score: LevelScore) -> None:
        """Add to the score what is predicted for the segments of a level, int64 (S,)."""
        counts = self.segments.total(self.counts[:, :-1], level)
        score.update(predicted, counts, self.segments.paint(predicted, level), self.truth)

    def draw(self, predicted: Tensor, level: int, classes: Sequence[str], path: Path) -> None:
        """Write a sheet with what is predicted for the segments of a level, int64 (S,)."""
        assert self.drawn is not None
        levels = [labels[self.segments.parts] for labels in self.segments.labels.values()]
        picture = SemanticPicture(
            self.drawn,
            [labels.numpy() for labels in levels],
            self.segments.paint(predicted, level).numpy(),
            self.truth.numpy(),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(semantic_sheet([picture], classes)).save(path)


class Retrieval:
    """Labels the segments of validation images by those of training images (paper, section 4).

    Nothing is trained on the classes. A segment is the direction of the sum of the unit features of
    its pixels. Training segments, each with the class most frequent among its pixels, are the
    memory; those that are mostly void do not vote. A validation segment takes the class most
    frequent among the nearest of them by cosine similarity.

    The memory is kept and gone on with after an interruption; see `SegmentMemory`.

    Args:
        scenes: Training and validation images with "semantic" truth.
        level: Level of the hierarchy whose segments are taken, 0 being the superpixels; None for
            the coarsest, "all" for each, with one encoding of every image.
        neighbours: How many training segments vote.
        embedding: Features: "projector" of contrastive pretraining, "fused" without it, or "auto"
            for the projector if there is one.
        segments: Segments of a ViT, which has none of its own; a square number.
        memory: Training images in the memory; None for all.
        queries: Validation images; None for all.
        sampling: How superpixels read the feature grid, however the model was pretrained; None for
            the way it was.
        boundary_tolerance: Distance, as a share of the image's diagonal, within which boundaries
            match.
        pictures: Draw that many validation images, the first ones, with what is predicted for the
            level chosen, or the coarsest.

    Raises:
        UserError: A number of segments that is no square.
    """

    headline: ClassVar[tuple[str, ...]] = ("miou", "boundary_f", "ceiling", "ceiling/level0")

    def __init__(
        self,
        scenes: SceneDataModule,
        level: Annotated[int, Field(ge=0)] | Literal["all"] | None = None,
        neighbours: Annotated[int, Field(ge=1)] = 20,
        embedding: Embedding = "auto",
        segments: Annotated[int, Field(ge=1)] = 36,
        memory: Annotated[int, Field(ge=1)] | None = None,
        queries: Annotated[int, Field(ge=1)] | None = None,
        sampling: Sampling | None = "interpolated",
        boundary_tolerance: Tolerance = 0.0075,
        pictures: Annotated[int, Field(ge=0)] = 8,
    ) -> None:
        if math.isqrt(segments) ** 2 != segments:
            raise UserError(
                f"evaluation.retrieval.segments={segments}: clustering starts from equal squares; "
                "set a square number such as 36"
            )
        self.scenes = scenes
        self.level = level
        self.neighbours = neighbours
        self.embedding: Embedding = embedding
        self.segments = segments
        self.memory = memory
        self.queries = queries
        self.sampling: Sampling | None = sampling
        self.boundary_tolerance = boundary_tolerance
        self.pictures = pictures

    def check(self, subject: Subject | None = None) -> None:
        """Look for images with semantic truth in both splits, and for features to retrieve by.

        Raises:
            UserError: They are missing, or have none; the backbone has no fusion block or level.
        """
        if subject is not None:
            encoder = SegmentEncoder(subject, self.level, self.embedding, self.segments)
            encoder.chosen_levels(subject.look().depth)
        self.scenes.need("semantic", "train")
        self.scenes.need("semantic", "val")

    def __call__(self, subject: Subject, device: torch.device, folder: Path) -> dict[str, float]:
        """Evaluate a backbone.

        Args:
            subject: What to evaluate.
            device: Where to encode and to search.
            folder: For the memory, `classes.csv` with IoU and boundary F of each class, and
                `pictures/<index>.png`.

        Returns:
            In 0..1, of the level chosen, or the coarsest: "miou", "accuracy" (of pixels),
            "boundary_f", "boundary_precision", "boundary_recall", and "ceiling", the mIoU if each
            segment took the class most frequent in it; "ceiling/level0" for superpixels (or the
            segments of a ViT). For all levels also each as "<name>/level<number>".

        Raises:
            UserError: No semantic truth, a backbone without fusion block, a level that is not
                there, or no training segment with a class.
        """
        self.check()
        subject = subject.reading(self.sampling)
        classes = self.scenes.num_classes
        encoder = SegmentEncoder(subject, self.level, self.embedding, self.segments)
        if self.embedding == "auto" and subject.projector is None:
            log.info("the checkpoint has no projector (converted models have none): fused features")
        memory = SegmentMemory(folder / "memory", self._key(subject), void=classes)

        def encode(scene: Scene, draw: bool = False) -> Encoded:
            segments = encoder(scene.to(device))
            truth = torch.from_numpy(np.asarray(scene.truth["semantic"], np.int64))
            counts, drawn = segments.counts(truth, classes), scene.pixels if draw else None
            return Encoded(segments, truth, counts, scene.index, drawn)

        memory.grow(self.scenes.scenes("train", self.memory), lambda scene: encode(scene).entries())
        finest = Ceiling(classes)
        scores: dict[int, LevelScore] = {}
        shown = track(self.scenes.scenes("val", self.queries), "retrieval for validation images")
        encoded = (encode(scene, number < self.pictures) for number, scene in enumerate(shown))
        while images := list(islice(encoded, _IMAGES)):
            for image in images:
                finest.update(image.counts[:, :-1])
            for level in images[0].segments.chosen:
                score = scores.setdefault(level, LevelScore(classes, self.boundary_tolerance))
                for image, predicted in zip(
                    images, self._predict(images, level, memory, device), strict=True
                ):
                    image.judge(predicted, level, score)
                    if image.drawn is not None and level == image.segments.chosen[-1]:
                        path = folder / "pictures" / f"{image.index:05d}.png"
                        image.draw(predicted, level, self.scenes.semantic_classes, path)
        return self._figures(scores, finest, folder)

    def _predict(
        self, images: list[Encoded], level: int, memory: SegmentMemory, device: torch.device
    ) -> tuple[Tensor, ...]:
        """Class of each segment of each image."""
        prototypes = [image.segments.prototypes(level) for image in images]
        predicted = nearest_votes(
            torch.cat(prototypes).to(device),
            memory.blocks(level, device),
            self.neighbours,
            self.scenes.num_classes,
        )
        return torch.split(predicted.cpu(), [len(one) for one in prototypes])

    def _figures(
        self, scores: Mapping[int, LevelScore], finest: Ceiling, folder: Path
    ) -> dict[str, float]:
        """Sum up, and write what is to be known of each class."""
        if not scores:
            raise UserError("there is no validation image, or none can be read")
        by_level = {level: scores[level].compute() for level in sorted(scores)}
        figures = dict(by_level[max(by_level)])
        if self.level == "all":
            for level, own in by_level.items():
                figures |= {f"{name}/level{level}": value for name, value in own.items()}
        figures["ceiling/level0"] = finest.compute()
        columns = {
            f"{name}/level{level}": values
            for level in by_level
            for name, values in scores[level].by_class().items()
        }
        with open(folder / "classes.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["class", *columns])
            writer.writerows(zip(self.scenes.semantic_classes, *columns.values(), strict=True))
        return figures

    def _key(self, subject: Subject) -> str:
        """What the memory depends on."""
        data = self.scenes
        made_from = {
            "backbone": fingerprint(subject.backbone),
            "config": str(subject.backbone.config),
            "projector": subject.projector and fingerprint(subject.projector),
            "embedding": self.embedding,
            "level": self.level,
            "segments": self.segments,
            "limit": self.memory,
            "size": data.image_size,
            "fit": data.fit,
        }
        return json.dumps(made_from | data.identity("train"))
