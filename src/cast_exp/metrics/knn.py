"""Weighted k-nearest-neighbour votes of image features."""

import torch
from torch import Tensor
from torch.nn import functional as F


def knn_hits(
    memory: Tensor,
    memory_labels: Tensor,
    queries: Tensor,
    labels: Tensor,
    classes: int,
    neighbours: int = 20,
    temperature: float = 0.07,
    block: int = 2048,
) -> Tensor:
    """Count the queries whose class is found by a weighted k-nearest-neighbour vote.

    Every query takes the `neighbours` memory features of largest cosine similarity s; each votes
    for its class with weight exp(s / temperature) (Wu et al., "Unsupervised Feature Learning via
    Non-Parametric Instance Discrimination", 2018, section 3.4). The search is exact, in blocks, so
    that memory use does not grow with the product of the two sets. Between equally similar
    neighbours at the k-th place the choice is arbitrary.

    Args:
        memory: Features that vote, of any scale, float (N, C).
        memory_labels: Their classes, int64 (N,).
        queries: Features that are voted on, of any scale, float (Q, C).
        labels: Their classes, int64 (Q,).
        classes: Number of classes; labels are 0..classes-1.
        neighbours: k; all of the memory when that is smaller.
        temperature: Smaller values let the nearest neighbours count for more.
        block: Queries, and memory features, compared at a time.

    Returns:
        Queries whose class has the most votes, and those whose class is among five, int64 (2,). A
        class without a vote is never a hit.

    Raises:
        ValueError: Features that are not finite, or labels outside 0..classes-1.
    """
    if not all(bool(features.isfinite().all()) for features in (memory, queries)):
        raise ValueError("features are not finite")
    if any(bool(((y < 0) | (y >= classes)).any()) for y in (memory_labels, labels)):
        raise ValueError(f"labels must be in 0..{classes - 1}")
    memory, queries = (F.normalize(features.float(), dim=1) for features in (memory, queries))
    hits = labels.new_zeros(2)
    blocks = torch.split(queries, block), torch.split(labels, block)
    for asked, wanted in zip(*blocks, strict=True):
        similarity, index = _nearest(asked, memory, neighbours, block)
        # Dividing the weights of a query by the largest changes no vote and never overflows.
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = asked.new_zeros(len(asked), classes)
        votes.scatter_add_(1, memory_labels[index], weights)
        score, ranked = votes.topk(min(5, classes))
        right = (ranked == wanted[:, None]) & (score > 0)
        hits += torch.stack([right[:, 0].sum(), right.sum()])
    return hits


def _nearest(queries: Tensor, memory: Tensor, count: int, block: int) -> tuple[Tensor, Tensor]:
    """Similarity and index of the nearest memory features of each query, (Q, k) each."""
    best = queries.new_empty(len(queries), 0)
    index = torch.empty_like(best, dtype=torch.int64)
    for start in range(0, len(memory), block):
        similarity = queries @ memory[start : start + block].T
        places = torch.arange(start, start + similarity.size(1), device=queries.device)
        best = torch.cat([best, similarity], 1)
        index = torch.cat([index, places.expand_as(similarity)], 1)
        best, chosen = best.topk(min(count, best.size(1)))
        index = index.gather(1, chosen)
    return best, index
