import math
from functools import partial

import pytest
import torch
from torch import Tensor

from cast_exp.metrics import KNNAccuracy


def brute_force(
    memory: Tensor,
    memory_labels: Tensor,
    queries: Tensor,
    labels: Tensor,
    classes: int,
    k: int,
    temperature: float,
) -> tuple[float, float]:
    """One query at a time, with sorted Python lists."""
    first = among_five = 0
    for query, label in zip(queries.double(), labels.tolist(), strict=True):
        similar = []
        for feature, voter in zip(memory.double(), memory_labels.tolist(), strict=True):
            cosine = float(query @ feature / (query.norm() * feature.norm()))
            similar.append((cosine, voter))
        votes = [0.0] * classes
        for cosine, voter in sorted(similar, reverse=True)[:k]:
            votes[voter] += math.exp(cosine / temperature)
        ranked = sorted(range(classes), key=lambda c: -votes[c])
        ranked = [c for c in ranked if votes[c] > 0]
        first += label == ranked[0]
        among_five += label in ranked[:5]
    return first / len(queries), among_five / len(queries)


@pytest.mark.parametrize("block", [1, 7, 64, 4096])
@pytest.mark.parametrize(
    ("memory", "queries", "classes", "k", "temperature"),
    [(150, 40, 10, 20, 0.07), (64, 33, 3, 1, 0.07), (12, 9, 7, 20, 0.5), (100, 60, 30, 5, 0.01)],
)
def test_equals_brute_force(
    memory: int, queries: int, classes: int, k: int, temperature: float, block: int
) -> None:
    generator = torch.Generator().manual_seed(memory)
    centres = torch.randn(classes, 16, generator=generator)
    labels = torch.randint(classes, (memory + queries,), generator=generator)
    features = centres[labels] + 2 * torch.randn(memory + queries, 16, generator=generator)
    features *= torch.rand(memory + queries, 1, generator=generator) * 10 + 0.1

    metric = KNNAccuracy(features[:memory], labels[:memory], classes, k, temperature, block)
    for part in range(memory, memory + queries, 17):
        metric.update(features[part : part + 17], labels[part : part + 17])

    expected = brute_force(
        features[:memory],
        labels[:memory],
        features[memory:],
        labels[memory:],
        classes,
        k,
        temperature,
    )
    scores = metric.compute()
    assert (scores["top1"].item(), scores["top5"].item()) == pytest.approx(expected)
    assert 0 < expected[0] < 1  # the case tells right from wrong


def test_weights_decide_between_a_close_neighbour_and_many_far_ones() -> None:
    memory = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, 0.8]])
    labels = torch.tensor([0, 1, 1])
    query = torch.tensor([[1.0, 0.1]])
    for temperature, winner in [(0.07, 0), (10.0, 1)]:
        metric = KNNAccuracy(memory, labels, 2, 3, temperature)
        metric.update(query, torch.tensor([winner]))
        assert metric.compute()["top1"] == 1


def test_a_class_without_votes_is_no_hit() -> None:
    metric = KNNAccuracy(torch.eye(4), torch.arange(4), classes=5, neighbours=1)
    metric.update(torch.eye(4)[:1], torch.tensor([4]))
    assert metric.compute()["top5"] == 0


def test_half_precision_features_are_compared_in_single() -> None:
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 3
    scores = []
    for kind in (features.half(), features.half().float()):
        metric = KNNAccuracy(kind[:20], labels[:20], 3)
        metric.update(kind[20:], labels[20:])
        scores.append(metric.compute()["top1"])
    assert scores[0] == scores[1]


def test_reset_forgets_the_queries_only() -> None:
    metric = KNNAccuracy(torch.eye(2), torch.tensor([0, 1]), 2)
    metric.update(torch.eye(2), torch.tensor([1, 0]))
    assert metric.compute()["top1"] == 0
    metric.reset()
    metric.update(torch.eye(2), torch.tensor([0, 1]))
    assert metric.compute()["top1"] == 1


def test_no_queries_change_nothing() -> None:
    metric = KNNAccuracy(torch.eye(2), torch.tensor([0, 1]), 2)
    metric.update(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))
    assert metric.compute()["top1"].isnan()
    metric.update(torch.eye(2), torch.tensor([0, 0]))
    assert metric.compute()["top1"] == 0.5


def test_what_cannot_be_scored_is_refused() -> None:
    ones, labels = torch.ones(1, 2), torch.tensor([0])
    with pytest.raises(ValueError, match="at least one"):
        KNNAccuracy(ones[:0], labels[:0], 2)
    for refused in (partial(KNNAccuracy, classes=2), KNNAccuracy(ones, labels, 2).update):
        with pytest.raises(ValueError, match="not finite"):
            refused(ones * torch.nan, labels)
        with pytest.raises(ValueError, match=r"0\.\.1"):
            refused(ones, labels + 2)
