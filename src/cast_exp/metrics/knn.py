"""Weighted k-nearest-neighbour accuracy of image features."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class KNNAccuracy(Metric):
    """Accuracy of a weighted k-nearest-neighbour vote over stored features.

    Every query takes the `neighbours` memory features of largest cosine similarity s; each votes
    for its class with weight exp(s / temperature) (Wu et al., "Unsupervised Feature Learning via
    Non-Parametric Instance Discrimination", 2018, section 3.4). The search is exact, in blocks, so
    that memory use does not grow with the product of the two sets. Between equally similar
    neighbours at the k-th place the choice is arbitrary. Across processes the features are
    gathered: all processes compute the same figure over all of them.

    Args:
        classes: Number of classes; labels are 0..classes-1.
        neighbours: k; all of the memory when that is smaller.
        temperature: Smaller values let the nearest neighbours count for more.
        block: Queries, and memory features, compared at a time.
        options: Of torchmetrics' `Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    memory_features: list[Tensor]
    memory_labels: list[Tensor]
    query_features: list[Tensor]
    query_labels: list[Tensor]

    def __init__(
        self,
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
        for split in ("memory", "query"):
            self.add_state(f"{split}_features", default=[], dist_reduce_fx="cat")
            self.add_state(f"{split}_labels", default=[], dist_reduce_fx="cat")

    def update(self, features: Tensor, labels: Tensor, split: Literal["memory", "query"]) -> None:
        """Add a batch to the memory or to the queries.

        Args:
            features: Image features of any scale, float (B, C).
            labels: Classes, int64 (B,).
            split: Whether they are voters or are voted on.

        Raises:
            ValueError: Features that are not finite, or labels outside 0..classes-1.
        """
        if not bool(features.isfinite().all()):
            raise ValueError("features are not finite")
        if bool(((labels < 0) | (labels >= self.classes)).any()):
            raise ValueError(f"labels must be in 0..{self.classes - 1}")
        getattr(self, f"{split}_features").append(F.normalize(features.float(), dim=1))
        getattr(self, f"{split}_labels").append(labels)

    def compute(self) -> dict[str, Tensor]:
        """Share of queries whose class has the most votes ("top1"), or is among five ("top5").

        A class without a vote is never counted as a hit.

        Raises:
            ValueError: No memory or no queries.
        """
        if not len(self.memory_features) or not len(self.query_features):
            raise ValueError("kNN needs at least one memory and one query feature")
        features, labels = dim_zero_cat(self.query_features), dim_zero_cat(self.query_labels)
        memory = dim_zero_cat(self.memory_features)
        memory_labels = dim_zero_cat(self.memory_labels)
        hits = torch.zeros(2, device=features.device)
        for start in range(0, len(features), self.block):
            queries = features[start : start + self.block]
            wanted = labels[start : start + self.block]
            similarity, index = self._nearest(queries, memory)
            # Dividing the weights of a query by the largest changes no vote and never overflows.
            weights = ((similarity - similarity[:, :1]) / self.temperature).exp()
            votes = queries.new_zeros(len(queries), self.classes)
            votes.scatter_add_(1, memory_labels[index], weights)
            score, ranked = votes.topk(min(5, self.classes))
            right = (ranked == wanted[:, None]) & (score > 0)
            hits += torch.stack([right[:, 0].sum(), right.sum()])
        top1, top5 = hits / len(features)
        return {"top1": top1, "top5": top5}

    def _nearest(self, queries: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity and index of the nearest memory features of each query, (Q, k) each."""
        count = min(self.neighbours, len(memory))
        best = queries.new_empty(len(queries), 0)
        index = torch.empty_like(best, dtype=torch.int64)
        for start in range(0, len(memory), self.block):
            similarity = queries @ memory[start : start + self.block].T
            places = torch.arange(start, start + similarity.size(1), device=queries.device)
            best = torch.cat([best, similarity], 1)
            index = torch.cat([index, places.expand_as(similarity)], 1)
            best, chosen = best.topk(min(count, best.size(1)))
            index = index.gather(1, chosen)
        return best, index
