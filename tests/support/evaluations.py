"""Small evaluations of each kind, to be run by one process or by two."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from support import probe_run, retrieval, segmentation_run
from support.trainers import evaluate, make_trainer
from torch import nn

from cast_exp.checkpoints import Classifier
from cast_exp.data import SceneDataModule
from cast_exp.data.datasets import Shapes
from cast_exp.distributed import rank
from cast_exp.errors import UserError
from cast_exp.evaluation import (
    KNN,
    BaseEvaluation,
    Classification,
    Evaluation,
    FigureGround,
    HierarchyEvaluation,
    LinearProbe,
    Retrieval,
    Segmentation,
    SegmentProbe,
    Subject,
)
from cast_exp.evaluation.retrieval import memory
from cast_exp.models import SegmentationModel, create_model
from cast_exp.models.heads import SegmentationHead
from cast_exp.run.evaluate import run_evaluations
from cast_exp.superpixels import Seeds


class SecondIsEmpty(Shapes):
    """Five images, the second without an object."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        return item | ({"instance": item["instance"] * 0} if index == 1 else {})


def scenes() -> SceneDataModule:
    dataset = partial(SecondIsEmpty, train=3, val=5, size=48, creatures=2)
    return SceneDataModule(
        dataset, Seeds(36, histogram_bins=5, iterations=4), image_size=48, workers=0
    )


def evaluation(name: str) -> Evaluation:
    match name:
        case "knn":
            return KNN(probe_run.images(), neighbours=5, batch_size=7)
        case "classification":
            return Classification(probe_run.images(), batch_size=7, pictures=3)
        case "segmentation":
            return Segmentation(segmentation_run.scenes(val=5), pictures=2)
        case "linear_probe":
            return LinearProbe(probe_run.images(), epochs=5, batch_size=12, seed=3)
        case "retrieval":
            return Retrieval(retrieval.scenes(), "all", 3, pictures=3)
        case "segment_probe":
            return SegmentProbe(retrieval.scenes(), weight_decay=0.03)
        case "figure_ground":
            return FigureGround(scenes(), pictures=2)
        case "hierarchy":
            return HierarchyEvaluation(
                scenes(), levels=(12, 6, 3), splits=["val", "train"], pictures=3
            )
    raise ValueError(name)


def subject(name: str) -> Subject:
    torch.manual_seed(0)
    if name in ("knn", "linear_probe"):
        return Subject(probe_run.backbone())
    if name == "classification":
        backbone = probe_run.backbone()
        return Subject(backbone, classifier=Classifier(nn.Linear(backbone.dim, 3)))
    if name == "segmentation":
        fused = segmentation_run.backbone()
        head = SegmentationHead(fused.dim, 4)
        return Subject(fused, segmenter=SegmentationModel(fused, head))
    if name in ("retrieval", "segment_probe"):
        return retrieval.subject()
    return Subject(create_model("cast_tiny", sampling="interpolated", image_size=48))


class Calls:
    """Counts the calls of a backbone; at one more than `most`, Ctrl-C is pressed."""

    def __init__(self, backbone: torch.nn.Module, most: int | None = None) -> None:
        self.count, self.most = 0, most
        backbone.register_forward_pre_hook(self)

    def __call__(self, *_: Any) -> None:
        if self.count == self.most:
            raise KeyboardInterrupt
        self.count += 1


def measured(name: str, folder: Path, most: int | None = None) -> tuple[Any, int]:
    """Figures and the number of calls of the backbone; no figures if interrupted after `most`."""
    judged = subject(name)
    calls = Calls(judged.backbone, most)
    figures = None
    with suppress(SystemExit), patch.object(memory, "IMAGES_PER_FILE", 2):
        figures = evaluate(evaluation(name), judged, folder)
    return figures, calls.count


def files(folder: Path) -> dict[str, bytes]:
    """What is in a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def fail(*_: Any) -> None:
    raise RuntimeError("no luck")


def fails_on_one(name: str, where: int, folder: Path) -> tuple[str, str]:
    """What the whole of evaluations says of which one fails, and what that one says alone."""
    bad = subject(name)
    if rank() == where:
        bad.backbone.register_forward_pre_hook(fail)
    alone, together = "", ""
    try:
        evaluate(evaluation(name), bad, folder / "alone")
    except Exception as error:
        alone = f"{type(error).__name__}: {error}"
    evaluations = {"bad": Replaced(bad, evaluation(name)), "knn": evaluation("knn")}
    try:
        run_evaluations(evaluations, {"": subject("knn")}, make_trainer, folder)
    except UserError as error:
        together = str(error)
    return alone, together


class Replaced(BaseEvaluation):
    """Another evaluation, of another subject."""

    headline = ()

    def __init__(self, other: Subject, evaluation: Evaluation) -> None:
        super().__init__(evaluation.data)
        self.other, self.evaluation = other, [evaluation]

    def check(self, subject: Subject | None = None) -> None:
        """Nothing to look for."""

    def evaluate(self, trainers: Any, subject: Subject, folder: Path) -> dict[str, float]:
        return self.evaluation[0].evaluate(trainers, self.other, folder)
