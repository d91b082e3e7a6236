"""Token Pooling (Marin et al., 2023): tokens are clustered, each cluster becomes its mean."""

from abc import abstractmethod
from functools import cache
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from cast_exp.models.grouping.base import Grouping, Ungrouped
from cast_exp.ops import kmeans, kmedoids
from cast_exp.ops.exporting import exporting
from cast_exp.ops.labels import one_hot

Seeding = Literal["attention", "random"]


class TokenPooling(Grouping):
    """Hard clusters of tokens; the baseline that the paper compares graph pooling with.

    It has no parameters and leaves the class token as it is.

    Args:
        dim: Not used; every grouping is told.
        heads: Likewise.
        seeding: "attention" starts from the tokens that got the most attention in the block before
            (PoWER-BERT's significance score; Goyal et al., 2020), "random" from random ones, which
            in evaluation are the same for every image.
        iterations: Assignments of tokens to clusters.
        mask_empty: Keep empty tokens out of the clusters.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        seeding: Seeding = "attention",
        iterations: Annotated[int, Field(ge=1, le=1000)] = 5,
        mask_empty: bool = True,
    ) -> None:
        super().__init__()
        self.seeding = seeding
        self.iterations = iterations
        self.mask_empty = mask_empty
        self.reads_attention = seeding == "attention"

    @abstractmethod
    def cluster(
        self, tokens: Tensor, seeds: Tensor, valid: Tensor, missing: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cluster of each token (B, N) and the token that stands for each cluster (B, K)."""

    def group(self, given: Ungrouped) -> tuple[Tensor, Tensor, Tensor]:
        """Group the tokens; see `Grouping.group`."""
        tokens, segments, missing = given.tokens, given.segments, given.missing
        valid = ~given.padding if self.mask_empty else torch.ones_like(given.padding)
        attention = self._random(tokens) if given.attention is None else given.attention
        seeds = _highest(attention.float().masked_fill(~valid, -torch.inf), segments)
        labels, seeds = self.cluster(tokens, seeds, valid, missing)
        members = (one_hot(labels, segments) & valid[..., None]).to(tokens.dtype)
        sizes = members.sum(1).clamp(min=1)[..., None]
        pooled = members.transpose(1, 2) @ tokens / sizes
        return pooled, members.masked_fill(missing[:, None], -torch.inf), seeds

    def _random(self, tokens: Tensor) -> Tensor:
        batch, number, _ = tokens.shape
        if self.training:
            return torch.rand(batch, number, device=tokens.device)
        drawn: Tensor = _drawn(number, tokens.device)
        return drawn.expand(batch, -1)


def _highest(scores: Tensor, count: int) -> Tensor:
    """Places of the highest scores of (B, N), in order; of equal ones, the first: (B, count)."""
    if not exporting():
        return scores.argsort(dim=1, descending=True, stable=True)[:, :count]
    first, second = scores[:, :, None], scores[:, None]  # ONNX has no stable sort
    number = torch.arange(scores.size(1), device=scores.device)
    before = (second > first) | ((second == first) & (number < number[:, None]))
    order = torch.zeros_like(scores, dtype=torch.long)
    return order.scatter(1, before.sum(2), number.expand_as(order))[:, :count]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
@cache  # sent to the device once
def _drawn(number: int, device: torch.device) -> Tensor:
    """Random numbers, float32 (number,); by NumPy, where the first of more numbers are the same."""
    return torch.from_numpy(np.random.default_rng(0).random(number, dtype=np.float32)).to(device)


class KMeans(TokenPooling):
    """Token Pooling by K-Means; see `TokenPooling`."""

    def cluster(
        self, tokens: Tensor, seeds: Tensor, valid: Tensor, missing: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `TokenPooling.cluster`."""
        labels = kmeans(tokens, seeds, valid=valid, missing=missing, iterations=self.iterations)
        return labels, seeds


class KMedoids(TokenPooling):
    """Token Pooling by K-Medoids; see `TokenPooling`."""

    def cluster(
        self, tokens: Tensor, seeds: Tensor, valid: Tensor, missing: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `TokenPooling.cluster`."""
        return kmedoids(tokens, seeds, valid=valid, missing=missing, iterations=self.iterations)
