"""Rows that hold every pair of options of any two factors."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from random import Random

Row = dict[str, str]


def pairwise_cover(factors: Mapping[str, Sequence[str]], seed: int = 0) -> list[Row]:
    """A small set of rows, one option of each factor, in which every pair occurs.

    Greedy: each row begins with a pair that is still missing and takes, factor by factor, the
    option that adds most pairs.

    Args:
        factors: Options by name.
        seed: Of the order in which pairs and factors are taken.
    """
    rng = Random(seed)
    missing = {
        ((a, x), (b, y)): None
        for a, b in combinations(factors, 2)
        for x, y in product(factors[a], factors[b])
    }
    order = list(missing)
    rng.shuffle(order)
    missing = dict.fromkeys(order)
    rows = []
    while missing:
        row: Row = dict(next(iter(missing)))
        others = [name for name in factors if name not in row]
        rng.shuffle(others)
        for name in others:
            row[name] = max(
                factors[name],
                key=lambda option: sum(pair in missing for pair in _with(row, name, option)),
            )
        for pair in combinations([(name, row[name]) for name in factors], 2):
            missing.pop(pair, None)
        rows.append({name: row[name] for name in factors})
    return rows


def _with(row: Row, name: str, option: str) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """The pairs that an option makes with those of a row, in either order."""
    pairs = [((name, option), other) for other in row.items()]
    return pairs + [(second, first) for first, second in pairs]
