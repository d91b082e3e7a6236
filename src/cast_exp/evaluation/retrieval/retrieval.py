"""Semantic segmentation by retrieval: segments take the class of the most similar ones."""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from cast_exp.checkpoints.files import fingerprint
from cast_exp.data import Scene, SceneDataModule
from cast_exp.data.scene_samples import SceneLoader
from cast_exp.data.stored import load_parts, save_tensors
from cast_exp.distributed import rank, world_size
from cast_exp.errors import UserError
from cast_exp.evaluation.base import Evaluation
from cast_exp.evaluation.retrieval.memory import Entries, SegmentMemory
from cast_exp.evaluation.retrieval.patches import SquareNumber
from cast_exp.evaluation.retrieval.score import LevelScore, Scores
from cast_exp.evaluation.retrieval.segments import Embedding, SegmentEncoder, Segments
from cast_exp.evaluation.retrieval.votes import nearest_votes
from cast_exp.evaluation.subject import Subject
from cast_exp.metrics.boundary import Tolerance
from cast_exp.models.tokens import Sampling
from cast_exp.output.files import atomic_write, write_csv
from cast_exp.viz.draw import Pixels
from cast_exp.viz.semantic import SemanticPicture, semantic_sheet

log = logging.getLogger(__name__)

MEMORY, QUERIES = "memory", "queries"
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
        with atomic_write(path) as new:
            Image.fromarray(semantic_sheet([picture], classes)).save(new, "png")


class Retrieval(Evaluation):
    """Labels the segments of validation images by those of training images (paper, section 4).

    Nothing is trained on the classes. A segment is the direction of the sum of the unit features of
    its pixels. Training segments, each with the class most frequent among its pixels, are the
    memory; those that are mostly void do not vote. A validation segment takes the class most
    frequent among the nearest of them by cosine similarity.

    Figures, in 0..1, of the level chosen, or the coarsest: "miou", "accuracy" (of pixels),
    "boundary_f", "boundary_precision", "boundary_recall", and "ceiling", the mIoU if each segment
    took the class most frequent in it; "ceiling/level0" for superpixels (or the segments of a ViT).
    For all levels also each as "<name>/level<number>".

    Files: `memory` (see `SegmentMemory`) and `queries`, the scores of 32 images in each file, from
    which an interrupted evaluation goes on;
    `classes.csv` with IoU and boundary F of each class; `pictures/<index>.png`.

    Args:
        scenes: Training and validation images with "semantic" truth.
        level: Level of the hierarchy whose segments are taken, 0 being the superpixels; None for
            the coarsest, "finest" for the first grouping (without any the superpixels), "all" for
            each, with one encoding of every image.
        neighbours: How many training segments vote.
        embedding: Features: "projector" of contrastive pretraining, "fused" without it, or "auto"
            for the projector if there is one.
        levels: Segments at each level, fine to coarse, as counts or fractions, for a CAST; None for
            its own. A model that groups nothing has none.
        segments: Segments of a ViT, which has none of its own; a square number.
        memory: Training images in the memory; None for all.
        queries: Validation images; None for all.
        sampling: How superpixels read the feature grid, however the model was pretrained; None for
            the way it was.
        boundary_tolerance: Distance, as a share of the image's diagonal, within which boundaries
            match.
        pictures: Draw that many validation images, the first ones, with what is predicted for the
            level chosen, or the coarsest.
    """

    headline: ClassVar[tuple[str, ...]] = ("miou", "boundary_f", "ceiling", "ceiling/level0")
    passes: ClassVar[tuple[str, ...]] = (MEMORY, QUERIES)

    def __init__(
        self,
        scenes: SceneDataModule,
        level: Annotated[int, Field(ge=0)] | Literal["finest", "all"] | None = None,
        neighbours: Annotated[int, Field(ge=1)] = 20,
        embedding: Embedding = "auto",
        levels: Sequence[int | float] | None = None,
        segments: SquareNumber = 36,
        memory: Annotated[int, Field(ge=1)] | None = None,
        queries: Annotated[int, Field(ge=1)] | None = None,
        sampling: Sampling | None = "interpolated",
        boundary_tolerance: Tolerance = 0.0075,
        pictures: Annotated[int, Field(ge=0)] = 8,
    ) -> None:
        super().__init__(scenes)
        self.scenes = scenes
        self.level = level
        self.neighbours = neighbours
        self.embedding: Embedding = embedding
        self.levels = levels if levels is None else list(levels)
        self.segments = segments
        self.memory = memory
        self.queries = queries
        self.sampling = sampling
        self.boundary_tolerance = boundary_tolerance
        self.pictures = pictures

    def check(self, subject: Subject | None = None) -> None:
        """Look for images with semantic truth in both splits, and for features to retrieve by.

        Raises:
            UserError: They are missing, or have none; the backbone has no fusion block or level.
        """
        if subject is not None:
            encoder = self._encoder(subject)
            encoder.chosen_levels(subject.backbone.look(levels=encoder.levels).depth)
        self.scenes.need("semantic", "train")
        self.scenes.need("semantic", "val")

    def prepare(self) -> None:
        """Look which files of the memory are missing, and which queries have been answered.

        Raises:
            UserError: A backbone without fusion block, or without projector where that is chosen.
        """
        if self.embedding == "auto" and self.subject.projector is None:
            log.info("the checkpoint has no projector (converted models have none): fused features")
        self.encoder = self._encoder(self.subject)
        self.entries = SegmentMemory(
            self.folder / "memory",
            self._key(),
            self.scenes.num_classes,
            self.scenes.chosen("train", self.memory),
        )
        self.to_make = self.entries.missing()
        self.asked: list[int] = self.scenes.chosen("val", self.queries).tolist()
        self.waiting: list[Encoded] = []
        self.scores = self._no_scores()
        answered = self._read_answers()
        self.to_ask = [index for index in self.asked if index not in answered]

    def test_dataloader(self) -> SceneLoader:
        """This process's share of the files of the memory, or of the queries."""
        mine = slice(rank(), None, world_size())
        if self.going == QUERIES:
            return self.scenes.scenes_of("val", self.to_ask[mine])
        files = [self.entries.parts[number] for number in self.to_make[mine]]
        return self.scenes.scenes_of("train", [index for file in files for index in file])

    def transfer_batch_to_device(
        self, batch: Scene, device: torch.device, dataloader_idx: int
    ) -> Scene:
        """Leave the scene where it is: only the network needs it elsewhere."""
        return batch

    def test_step(self, scene: Scene, batch_idx: int) -> None:
        """Encode a scene; enter it into the memory, or let many queries be answered at a time.

        Raises:
            UserError: A level that is not there, or no training segment with a class.
        """
        draw = self.going == QUERIES and scene.index in self.asked[: self.pictures]
        segments = self.encoder(scene.to(self.device))
        truth = torch.from_numpy(np.asarray(scene.truth["semantic"], np.int64))
        counts = segments.counts(truth, self.scenes.num_classes)
        encoded = Encoded(segments, truth, counts, scene.index, scene.pixels if draw else None)
        if self.going == MEMORY:
            self.entries.enter(scene.index, encoded.entries())
            return
        self.waiting.append(encoded)
        if len(self.waiting) == _IMAGES:
            self._answer()

    def on_test_epoch_end(self) -> None:
        """Do what is left."""
        self.entries.flush()
        self._answer()

    def share(self) -> dict[str, Tensor]:
        """Scores of this process's queries; the first has those of earlier calls as well."""
        return self.scores.tensors()

    def compute(self, shares: Sequence[dict[str, Tensor]]) -> dict[str, float]:
        """Merge the scores, and write what is to be known of each class.

        Raises:
            UserError: There was no query.
        """
        merged = self._no_scores()
        for share in shares:
            merged.add(share)
        if not merged.levels:
            raise UserError("there is no validation image, or none can be read")
        with warnings.catch_warnings():  # the metrics do not know that they were merged
            warnings.filterwarnings("ignore", ".*was called before the ``update`` method")
            if rank() == 0:
                self._write_classes(merged.levels)
            return self._figures(merged)

    def _figures(self, scores: Scores) -> dict[str, float]:
        by_level = {level: scores.levels[level].compute() for level in sorted(scores.levels)}
        figures = dict(by_level[max(by_level)])
        if self.level == "all":
            for level, found in by_level.items():
                figures |= {f"{name}/level{level}": value for name, value in found.items()}
        return figures | {"ceiling/level0": scores.finest.compute()}

    def _encoder(self, subject: Subject) -> SegmentEncoder:
        return SegmentEncoder(
            subject, self.level, self.embedding, self.segments, self.sampling, self.levels
        )

    def _no_scores(self) -> Scores:
        return Scores(self.scenes.num_classes, self.boundary_tolerance)

    def _read_answers(self) -> set[int]:
        """The queries that earlier calls have answered; the first process adds their scores."""
        answered: set[int] = set()
        for _, found in load_parts(self.folder / "queries", self._answers_key()):
            answered.update(found.pop("images").tolist())
            if rank() == 0:
                self.scores.add(found)
        if answered and rank() == 0:
            log.info("%s: %d of %d queries are there", self.folder, len(answered), len(self.asked))
        return answered

    def _answer(self) -> None:
        """Predict for the images that wait, and add them to the scores."""
        images, self.waiting = self.waiting, []
        if not images:
            return
        scores = self._no_scores()
        for image in images:
            scores.finest.update(image.counts[:, :-1])
        for level in images[0].segments.chosen:
            for image, predicted in zip(images, self._predict(images, level), strict=True):
                image.judge(predicted, level, scores.level(level))
                if image.drawn is not None and level == image.segments.chosen[-1]:
                    path = self.folder / "pictures" / f"{image.index:05d}.png"
                    image.draw(predicted, level, self.scenes.semantic_classes, path)
        self.scores.add(scores.tensors())
        kept = {"images": torch.tensor([image.index for image in images]), **scores.tensors()}
        path = self.folder / "queries" / f"{images[0].index:05d}.safetensors"
        save_tensors(path, kept, self._answers_key())

    def _predict(self, images: list[Encoded], level: int) -> tuple[Tensor, ...]:
        """Class of each segment of each image."""
        prototypes = [image.segments.prototypes(level) for image in images]
        with self.in_full_precision():
            predicted = nearest_votes(
                torch.cat(prototypes).to(self.device),
                self.entries.blocks(level, self.device),
                self.neighbours,
                self.scenes.num_classes,
            )
        return torch.split(predicted.cpu(), [len(one) for one in prototypes])

    def _write_classes(self, scores: Mapping[int, LevelScore]) -> None:
        columns = {
            f"{name}/level{level}": values
            for level in sorted(scores)
            for name, values in scores[level].by_class().items()
        }
        rows = zip(self.scenes.semantic_classes, *columns.values(), strict=True)
        write_csv(self.folder / "classes.csv", [("class", *columns), *rows])

    def _answers_key(self) -> str:
        """What the answers to the queries depend on."""
        made_from = {
            "memory": self._key(),
            "neighbours": self.neighbours,
            "boundary_tolerance": self.boundary_tolerance,
            "queries": self.queries,
        }
        return json.dumps(made_from | self.scenes.identity("val"))

    def _key(self) -> str:
        """What the memory depends on."""
        data, subject = self.scenes, self.subject
        made_from = {
            "backbone": fingerprint(subject.backbone),
            "config": str(subject.backbone.config),
            "sampling": self.sampling,
            "projector": subject.projector and fingerprint(subject.projector),
            "embedding": self.embedding,
            "level": self.level,
            "levels": self.levels,
            "segments": self.segments,
            "limit": self.memory,
            "size": data.image_size,
            "fit": data.fit,
            "precision": self.trainer.precision,
        }
        return json.dumps(made_from | data.identity("train"))
