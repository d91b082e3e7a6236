"""Weighted k-nearest-neighbour accuracy of image features."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric


class KNNAccuracy(Metric):
    """Accuracy of a weighted k-nearest-neighbour vote of stored features on others.

    Every query takes the `neighbours` memory features of largest cosine similarity s; each votes
    for its class with weight exp(s / temperature) (Wu et al., "Unsupervised Feature Learning via
    Non-Parametric Instance Discrimination", 2018, section 3.4). The search is exact, in blocks, so
    that memory use does not grow with the product of the two sets. Between equally similar
    neighbours at the k-th place the choice is arbitrary. Each process may have queries of its own,
    against the same memory: their hits are summed.

    Args:
        memory: Features that vote, of any scale, float (N, C).
        labels: Their classes, int64 (N,).
        classes: Number of classes; labels are 0..classes-1.
        neighbours: k; all of the memory when that is smaller.
        temperature: Smaller values let the nearest neighbours count for more.
        block: Queries, and memory features, compared at a time.
        options: Of torchmetrics' `Metric`.

    Raises:
        ValueError: No memory, features that are not finite, or labels outside 0..classes-1.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    memory: Tensor
    memory_labels: Tensor
    hits: Tensor
    queries: Tensor

    def __init__(
        self,
        memory: Tensor,
        labels: Tensor,
        classes: int,
        neighbours: int = 20,
        temperature: float = 0.07,
        block: int = 2048,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.classes = classes
        self.neighbours = neighbours
        self.temperature = temperature
        self.block = block
        if not len(memory):
            raise ValueError("kNN needs at least one memory feature")
        self.register_buffer("memory", self._normalised(memory, labels), persistent=False)
        self.register_buffer("memory_labels", labels, persistent=False)
        self.add_state("hits", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("queries", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Vote on queries.

        Args:
            features: Of any scale, float (B, C).
            labels: Classes, int64 (B,).

        Raises:
            ValueError: Features that are not finite, or labels outside 0..classes-1.
        """
        queries = self._normalised(features, labels)
        blocks = torch.split(queries, self.block), torch.split(labels, self.block)
        for near, wanted in zip(*blocks, strict=True):
            similarity, index = self._nearest(near)
            # Dividing the weights of a query by the largest changes no vote and never overflows.
            weights = ((similarity - similarity[:, :1]) / self.temperature).exp()
            votes = near.new_zeros(len(near), self.classes)
            votes.scatter_add_(1, self.memory_labels[index], weights)
            score, ranked = votes.topk(min(5, self.classes))
            right = (ranked == wanted[:, None]) & (score > 0)
            self.hits += torch.stack([right[:, 0].sum(), right.sum()])
        self.queries += len(labels)

    def compute(self) -> dict[str, Tensor]:
        """Share of queries whose class has the most votes ("top1"), or is among five ("top5").

        A class without a vote is never counted as a hit. Without queries both are nan.
        """
        top1, top5 = self.hits / self.queries
        return {"top1": top1, "top5": top5}

    def _normalised(self, features: Tensor, labels: Tensor) -> Tensor:
        if not bool(features.isfinite().all()):
            raise ValueError("features are not finite")
        if bool(((labels < 0) | (labels >= self.classes)).any()):
            raise ValueError(f"labels must be in 0..{self.classes - 1}")
        return F.normalize(features.float(), dim=1)

    def _nearest(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity and index of the nearest memory features of each query, (Q, k) each."""
        best = queries.new_empty(len(queries), 0)
        index = torch.empty_like(best, dtype=torch.int64)
        for start in range(0, len(self.memory), self.block):
            similarity = queries @ self.memory[start : start + self.block].T
            places = torch.arange(start, start + similarity.size(1), device=queries.device)
            best = torch.cat([best, similarity], 1)
            index = torch.cat([index, places.expand_as(similarity)], 1)
            best, chosen = best.topk(min(self.neighbours, best.size(1)))
            index = index.gather(1, chosen)
        return best, index
