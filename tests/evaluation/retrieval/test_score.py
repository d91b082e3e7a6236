"""How right segments are, against counts of pixels."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from cast_exp.evaluation.retrieval.score import Ceiling, LevelScore, Scores
from cast_exp.metrics import BoundaryF

CLASSES = 3


def image(seed: int) -> tuple[torch.Tensor, ...]:
    """Segments of an image, a class for each, and true classes with void."""
    rng = np.random.default_rng(seed)
    segments = torch.from_numpy(np.kron(rng.permutation(6).reshape(2, 3), np.ones((4, 4), int)))
    truth = torch.from_numpy(rng.choice([0, 1, 2, 255], (8, 12), p=[0.5, 0.2, 0.2, 0.1]))
    predicted = torch.from_numpy(rng.integers(0, CLASSES, 6))
    counts = torch.stack(
        [torch.bincount(truth[segments == s], minlength=256)[:CLASSES] for s in range(6)]
    )
    return segments, truth, predicted, counts


def scored(seeds: range) -> LevelScore:
    score = LevelScore(CLASSES, 0.1)
    for seed in seeds:
        segments, truth, predicted, counts = image(seed)
        score.update(predicted, counts, predicted[segments], truth)
    return score


def test_figures_are_those_of_painted_pixels() -> None:
    jaccard = MulticlassJaccardIndex(CLASSES, average="none", ignore_index=255)
    best = MulticlassJaccardIndex(CLASSES, average="none", ignore_index=255)
    boundary, right, pixels = BoundaryF(CLASSES, 0.1), 0, 0
    for seed in range(4):
        segments, truth, predicted, counts = image(seed)
        jaccard.update(predicted[segments], truth)
        best.update(counts.argmax(1)[segments], truth)
        boundary.update(predicted[segments], truth)
        right += int((predicted[segments] == truth).sum())
        pixels += int((truth != 255).sum())
    figures, by_class = scored(range(4)).compute(), scored(range(4)).by_class()
    assert figures["miou"] == pytest.approx(jaccard.compute().mean().item())
    assert figures["ceiling"] == pytest.approx(best.compute().mean().item())
    assert figures["ceiling"] > figures["miou"]
    assert figures["accuracy"] == pytest.approx(right / pixels)
    expected = boundary.compute()
    for name in ("boundary_f", "boundary_precision", "boundary_recall"):
        assert figures[name] == pytest.approx(float(expected[name]))
    assert by_class["iou"] == pytest.approx(jaccard.compute().tolist())
    assert by_class["boundary_f"] == pytest.approx(expected["boundary_f_class"].tolist())


@pytest.mark.filterwarnings("ignore:.*was called before the ``update`` method")
def test_scores_of_two_processes_are_those_of_one() -> None:
    merged = Scores(CLASSES, 0.1)
    for seeds in (range(2), range(2, 5)):
        share = Scores(CLASSES, 0.1)
        share.levels[1] = scored(seeds)
        for seed in seeds:
            share.finest.update(image(seed)[-1])
        merged.add(share.tensors())
    assert merged.levels.keys() == {1}
    assert merged.levels[1].compute() == pytest.approx(scored(range(5)).compute())
    assert merged.finest.compute() == merged.levels[1].ceiling.compute()
    empty = Scores(CLASSES, 0.1)
    empty.add(Scores(CLASSES, 0.1).tensors())
    assert not empty.levels


def test_a_segment_takes_its_most_frequent_class() -> None:
    ceiling = Ceiling(2)
    ceiling.update(torch.tensor([[3, 1], [0, 4]]))  # 3 of class 0; 1 + 4 of class 1, 1 of it wrong
    assert ceiling.compute() == pytest.approx((3 / 4 + 4 / 5) / 2)
