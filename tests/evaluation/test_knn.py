"""kNN of a real, tiny CAST against votes one image after the other."""

from pathlib import Path

import pytest
import torch
from support.probe_run import backbone, encoded, images
from support.tiny_run import Blots
from support.trainers import evaluate
from torch.nn import functional as F

from cast_exp.errors import UserError
from cast_exp.evaluation import KNN, Subject


def votes(memory: int | None, queries: int | None, neighbours: int, temperature: float) -> float:
    """Share of the chosen validation images that the chosen training images vote right on."""
    data = images()
    kept, asked = (data.chosen(*choice) for choice in (("train", memory), ("val", queries)))
    features, labels = encoded(backbone(), data, "train")
    others, wanted = encoded(backbone(), data, "val")
    hits = 0
    for query, label in zip(others[asked], wanted[asked], strict=True):
        similar = F.cosine_similarity(features[kept], query[None])
        nearest = similar.topk(neighbours)
        weights = ((nearest.values - nearest.values.max()) / temperature).exp()
        scores = torch.zeros(3).index_add_(0, labels[kept][nearest.indices], weights)
        hits += int(scores.argmax() == label)
    return hits / len(asked)


@pytest.mark.parametrize(
    ("memory", "queries", "neighbours", "temperature"),
    [(None, None, 5, 0.07), (20, 31, 1, 0.5), (None, None, 9, 1e-5)],
)
def test_figures_are_those_of_votes_by_hand(
    memory: int | None, queries: int | None, neighbours: int, temperature: float, tmp_path: Path
) -> None:
    evaluation = KNN(images(), "cls", memory, queries, neighbours, temperature, batch_size=7)
    found = evaluate(evaluation, Subject(backbone()), tmp_path)
    assert found["top1"] == pytest.approx(votes(memory, queries, neighbours, temperature))
    assert found["top1"] <= found["top5"] <= 1


def test_one_class_cannot_be_told_apart() -> None:
    class OneClass(Blots):
        classes = ("image",)

    KNN(images()).check(Subject(backbone()))
    with pytest.raises(UserError, match="the images have no classes"):
        KNN(images(dataset=OneClass)).check()
    with pytest.raises(UserError, match="fusion block"):
        KNN(images(), "fused_mean").check(Subject(backbone()))
