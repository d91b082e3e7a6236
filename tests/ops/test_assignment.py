"""Assignments against all there are."""

from itertools import combinations, permutations

import numpy as np
import pytest

from cast_exp.ops.assignment import best_assignment, largest_matching

pytest.importorskip("scipy.sparse.csgraph")


def every_matching(pairs):
    """All matchings as tuples of (row, column, cost)."""
    for size in range(len(pairs), -1, -1):
        for chosen in combinations(pairs, size):
            rows, columns = {pair[0] for pair in chosen}, {pair[1] for pair in chosen}
            if len(rows) == len(columns) == size:
                yield chosen


@pytest.mark.parametrize("seed", range(12))
def test_most_pairs_at_least_cost_of_all_matchings(seed):
    rng = np.random.default_rng(seed)
    places = rng.choice(30, size=9, replace=False)  # of 5 rows, 6 columns
    pairs = [
        (5 * int(p // 6), int(p % 6), float(cost))
        for p, cost in zip(places, rng.random(9), strict=True)
    ]
    rows, columns, costs = map(np.array, zip(*pairs, strict=True))
    best = min(every_matching(pairs), key=lambda m: (-len(m), sum(pair[2] for pair in m)))
    assert largest_matching(rows, columns, costs).tolist() == sorted(pair[0] for pair in best)


def test_one_more_pair_is_worth_any_distance():
    rows, columns = np.array([0, 0, 1, 2]), np.array([0, 1, 0, 3])
    costs = np.array([0.0, 1000.0, 1000.0, 0.0])
    assert largest_matching(rows, columns, costs).tolist() == [0, 1, 2]


def test_no_possible_pair():
    nothing = np.zeros(0, np.int64)
    assert largest_matching(nothing, nothing, np.zeros(0)).tolist() == []


def test_the_best_of_all_permutations():
    gains = np.random.default_rng(0).integers(0, 50, (5, 5))
    columns = max(permutations(range(5)), key=lambda order: gains[range(5), order].sum())
    assert best_assignment(gains).tolist() == [*columns]
