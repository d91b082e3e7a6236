"""Assignments of least cost, by SciPy's solvers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def largest_matching(
    rows: NDArray[np.int64], columns: NDArray[np.int64], costs: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The matching with the most pairs and, of all with so many, one of least total cost.

    Args:
        rows: Row of each possible pair, int64 (E,).
        columns: Its column, int64 (E,).
        costs: Its cost, at least 0, float64 (E,).

    Returns:
        The rows that are matched, ascending, int64 (M,).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    if not len(rows):
        return rows
    names, rows = np.unique(rows, return_inverse=True)
    names_of_columns, columns = np.unique(columns, return_inverse=True)
    # Each row may stay alone, at a price beyond all that a pair more can cost.
    alone, real = np.arange(len(names)), len(names_of_columns)
    price = (len(names) + 1) * (1 + costs.max())
    entries = np.r_[1 + costs, np.full(len(names), price)]  # SciPy takes 0 for no pair
    places = np.stack([np.r_[rows, alone], np.r_[columns, real + alone]])
    # The solver of SciPy 1.11 takes no wider indices.
    graph = coo_array(
        (entries, tuple(places.astype(np.int32))), shape=(len(names), real + len(names))
    ).tocsr()
    matched, partners = min_weight_full_bipartite_matching(graph)
    return np.sort(names[matched[partners < real]])


def best_assignment(gains: NDArray[Any]) -> NDArray[np.int64]:
    """Give each row a column of its own so that the sum of gains is largest (Hungarian method).

    Args:
        gains: Gain of each pair, (N, N).

    Returns:
        Column of each row, int64 (N,).
    """
    from scipy.optimize import linear_sum_assignment

    return np.asarray(linear_sum_assignment(gains, maximize=True)[1], dtype=np.int64)
