"""Token Pooling (Marin et al., 2023): tokens are clustered, each cluster becomes its mean."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from cast_exp.models.grouping.base import Grouped, Grouping
from cast_exp.ops import kmeans, kmedoids

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
        iterations: Annotated[int, Field(ge=1)] = 5,
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

    def forward(
        self,
        tokens: Tensor,
        cls_token: Tensor,
        count: int | Tensor,
        padding: Tensor | None = None,
        attention: Tensor | None = None,
    ) -> Grouped:
        """Group the tokens; see `Grouping.forward`."""
        batch, number, _ = tokens.shape
        segments = count if isinstance(count, int) else int(count.max())
        counts = torch.as_tensor(count, device=tokens.device).expand(batch)
        missing = torch.arange(segments, device=tokens.device) >= counts[:, None]
        valid = torch.ones(batch, number, dtype=torch.bool, device=tokens.device)
        if padding is not None and self.mask_empty:
            valid = ~padding
        if attention is None:
            attention = self._random(tokens)
        seeds = attention.float().masked_fill(~valid, -torch.inf).topk(segments).indices
        labels, seeds = self.cluster(tokens, seeds, valid, missing)
        members = (F.one_hot(labels, segments) * valid[..., None]).to(tokens.dtype)
        sizes = members.sum(1).clamp(min=1)[..., None]
        pooled = members.transpose(1, 2) @ tokens / sizes
        assignment = members.masked_fill(missing[:, None], -torch.inf)
        absent = missing if isinstance(count, Tensor) else None
        return Grouped(pooled, cls_token, absent, assignment, seeds)

    def group_cls(self, cls_token: Tensor) -> Tensor:
        """Return the class token as it is."""
        return cls_token

    def shaping(self) -> Iterator[nn.Parameter]:
        """There are no parameters."""
        yield from ()

    def _random(self, tokens: Tensor) -> Tensor:
        batch, number, _ = tokens.shape
        if self.training:
            return torch.rand(batch, number, device=tokens.device)
        # NumPy's sequence, as the first of more numbers are the same there.
        drawn = torch.from_numpy(np.random.default_rng(0).random(number, dtype=np.float32))
        return drawn.to(tokens.device).expand(batch, -1)


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
