"""Nearest neighbours and their votes against a full sort, with ties."""

import numpy as np
import pytest
import torch

from cast_exp.evaluation.retrieval import votes
from cast_exp.evaluation.retrieval.votes import nearest_votes


def plain(queries, entries, labels, neighbours):
    """One query after the other; sorting is stable, `bincount().argmax()` takes the lowest."""
    found = []
    for query in queries:
        nearest = np.argsort(-(entries @ query), kind="stable")[:neighbours]
        found.append(np.bincount(labels[nearest]).argmax())
    return found


def blocks(entries, labels, sizes):
    return zip(
        torch.from_numpy(entries).float().split(sizes),
        torch.from_numpy(labels).split(sizes),
        strict=True,
    )


@pytest.mark.parametrize("number", [1, 63, 64, 700, 3000])
@pytest.mark.parametrize("neighbours", [1, 5, 20])
@pytest.mark.parametrize("at_once", [1, 2000, 1 << 22])
def test_votes_are_those_of_a_full_sort(number, neighbours, at_once, monkeypatch):
    monkeypatch.setattr(votes, "_SIMILARITIES", at_once)
    rng = np.random.default_rng(number + neighbours)
    # Small whole numbers have exact products, and many of these are equal.
    entries, queries = rng.integers(-2, 3, (number, 4)), rng.integers(-2, 3, (23, 4))
    labels = rng.integers(6, size=number)
    cut = int(0.4 * number)
    found = nearest_votes(
        torch.from_numpy(queries).float(),
        blocks(entries, labels, [cut, 0, number - cut]),
        neighbours,
        6,
    )
    assert found.tolist() == plain(queries, entries, labels, neighbours)


def test_entries_that_get_more_and_more_similar():
    entries = np.arange(1, 2001)[:, None]
    labels = (np.arange(2000) >= 1990).astype(np.int64)
    found = nearest_votes(torch.ones(2, 1), blocks(entries, labels, [1000, 1000]), 19, 2)
    assert found.tolist() == [1, 1]  # 10 of 19


def test_equal_counts_go_to_the_lowest_class():
    entries, labels = np.ones((4, 2)), np.array([3, 1, 1, 3])
    assert nearest_votes(torch.ones(1, 2), blocks(entries, labels, [4]), 4, 5).tolist() == [1]
    # Of equally similar entries the earlier ones vote.
    assert nearest_votes(torch.ones(1, 2), blocks(entries, labels, [2, 2]), 1, 5).tolist() == [3]


def test_no_queries():
    assert nearest_votes(
        torch.ones(0, 2), blocks(np.ones((9, 2)), np.ones(9, int), [9]), 4, 5
    ).shape == (0,)
