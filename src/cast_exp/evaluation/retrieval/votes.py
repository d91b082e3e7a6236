"""Exact nearest neighbours in a memory that comes in blocks, and their votes."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

_FIRST = 256  # entries compared at once to begin with, when most are among the best so far
_SIMILARITIES = 1 << 22  # computed at once later on
_GROUP = 64  # entries of which the most similar is looked at first


@torch.no_grad()
def nearest_votes(
    queries: Tensor, memory: Iterable[tuple[Tensor, Tensor]], neighbours: int, classes: int
) -> Tensor:
    """The class most frequent among the entries of largest dot product with each query.

    The memory is read once for all queries. Of entries equally similar the earlier ones are nearer;
    of classes equally frequent the lowest wins.

    Args:
        queries: Float (Q, D).
        memory: Entries and their classes 0..classes-1, float (M, D) and int64 (M,), in blocks.
        neighbours: How many vote; all that there are if these are fewer.
        classes: Number of classes.

    Returns:
        Classes, int64 (Q,).
    """
    best = queries.new_full((len(queries), neighbours), -torch.inf)
    voted = torch.zeros_like(best, dtype=torch.int64)
    most = max(_SIMILARITIES // max(len(queries), 1) // _GROUP, 1) * _GROUP
    for entries, labels in _pieces(memory, most):
        _merge(best, voted, queries @ entries.T, labels)
    votes = torch.zeros(len(queries), classes, dtype=torch.int64, device=queries.device)
    return votes.scatter_add_(1, voted, (best > -torch.inf).long()).argmax(1)


def _pieces(memory: Iterable[tuple[Tensor, Tensor]], most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut the blocks of a memory into pieces that grow up to `most` entries."""
    size = min(_FIRST, most)
    for entries, labels in memory:
        start = 0
        while start < len(entries):
            piece = slice(start, start + size)
            yield entries[piece], labels[piece]
            start += size
            size = min(2 * size, most)


def _merge(best: Tensor, voted: Tensor, similarity: Tensor, labels: Tensor) -> None:
    """Put what beats the last of the best (Q, k), most similar first, in its place.

    Few entries do so once many have been seen, which is why this takes much less time than to find
    the best of each piece.
    """
    row, column = _above(similarity, best[:, -1])
    if not len(row):
        return
    rows, group, sizes = torch.unique_consecutive(row, return_inverse=True, return_counts=True)
    place = torch.arange(len(row), device=row.device) - (sizes.cumsum(0) - sizes)[group]
    k = best.size(1)
    candidates = best.new_full((len(rows), k + int(sizes.max())), -torch.inf)
    its_labels = torch.zeros_like(candidates, dtype=torch.int64)
    candidates[:, :k], its_labels[:, :k] = best[rows], voted[rows]
    candidates[group, k + place] = similarity[row, column]
    its_labels[group, k + place] = labels[column]
    candidates, order = candidates.sort(dim=1, descending=True, stable=True)
    best[rows], voted[rows] = candidates[:, :k], its_labels.gather(1, order[:, :k])


def _above(values: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column, in this order, of each of the values (R, C) above the floor (R,) of its row.

    The same as `(values > floor[:, None]).nonzero()`, but only groups are looked into whose largest
    value is above.
    """
    if short := -values.size(1) % _GROUP:
        values = F.pad(values, (0, short), value=-torch.inf)
    groups = values.view(len(values), values.size(1) // _GROUP, _GROUP)
    row, group = (groups.amax(2) > floor[:, None]).nonzero(as_tuple=True)
    found, place = (groups[row, group] > floor[row, None]).nonzero(as_tuple=True)
    return row[found], group[found] * _GROUP + place
