import math

import pytest
import torch
from torch import Tensor

from cast_exp.metrics import knn_hits


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

    known, asked = (features[:memory], labels[:memory]), (features[memory:], labels[memory:])
    hits = knn_hits(*known, *asked, classes, k, temperature, block)

    expected = brute_force(*known, *asked, classes, k, temperature)
    assert (hits / queries).tolist() == pytest.approx(expected)
    assert 0 < expected[0] < 1  # the case tells right from wrong


def test_weights_decide_between_a_close_neighbour_and_many_far_ones() -> None:
    memory = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, 0.8]])
    labels = torch.tensor([0, 1, 1])
    query = torch.tensor([[1.0, 0.1]])
    for temperature, winner in [(0.07, 0), (10.0, 1)]:
        hits = knn_hits(memory, labels, query, torch.tensor([winner]), 2, 3, temperature)
        assert hits.tolist() == [1, 1]


def test_a_class_without_votes_is_no_hit() -> None:
    hits = knn_hits(torch.eye(4), torch.arange(4), torch.eye(4)[:1], torch.tensor([4]), 5, 1)
    assert hits.tolist() == [0, 0]


def test_half_precision_features_are_compared_in_single() -> None:
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 3
    hits = [
        knn_hits(kind[:20], labels[:20], kind[20:], labels[20:], 3)
        for kind in (features.half(), features.half().float())
    ]
    assert torch.equal(*hits)


def test_a_process_may_have_no_queries() -> None:
    empty = torch.empty(0, 2), torch.empty(0, dtype=torch.int64)
    assert knn_hits(torch.eye(2), torch.arange(2), *empty, 2).tolist() == [0, 0]


def test_what_cannot_be_scored_is_refused() -> None:
    good = torch.ones(1, 2), torch.tensor([0])
    for bad, message in (
        ((good[0] * torch.nan, good[1]), "not finite"),
        ((good[0], good[1] + 2), r"0\.\.1"),
    ):
        for memory, queries in ((good, bad), (bad, good)):
            with pytest.raises(ValueError, match=message):
                knn_hits(*memory, *queries, 2)
