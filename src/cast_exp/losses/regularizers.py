"""Regularisers of the hierarchy (the paper's ablation; Hierarchical Segment Grouping, 2022)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from cast_exp.distributed import gather, world_size
from cast_exp.errors import UserError
from cast_exp.models.hierarchy import Hierarchy, Level
from cast_exp.ops.labels import one_hot

Weight = Annotated[float, Field(ge=0)]


class Regularizer(nn.Module, ABC):
    """A loss on the groupings of two views: the weighted mean over the levels.

    Args:
        weights: Weight of every grouping, or one for each, fine to coarse.
    """

    def __init__(self, weights: Weight | Sequence[Weight] = 1.0) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, first: Hierarchy, second: Hierarchy) -> Tensor:
        """Compute the loss, a scalar of float32 or better.

        Raises:
            UserError: The hierarchies have no groupings, or not as many as there are weights.
        """
        depth = first.depth
        weights = self.weights if isinstance(self.weights, Sequence) else [self.weights] * depth
        if not depth or len(weights) != depth:
            raise UserError(
                f"{type(self).__name__} has {len(weights) or 'no'} weights for {depth} groupings "
                "that are trained; set one weight for all or one for each (the grouping after "
                "the last stage is only trained with model.train_last_grouping=true)"
            )
        with torch.autocast(first.cls.device.type, enabled=False):
            losses = [
                weight * self.of_level(first, second, level)
                for level, weight in enumerate(weights)
                if weight
            ]
        return torch.stack(losses).sum() / depth if losses else first.cls.new_zeros(())

    @abstractmethod
    def of_level(self, first: Hierarchy, second: Hierarchy, level: int) -> Tensor:
        """Loss of the grouping from `level` to the next, a scalar."""


class Clustering(Regularizer):
    """Groups what looks alike, and neither all nor nothing: modularity and collapse.

    The nodes of a graph are the tokens of both views of an image. Two are joined if one is among
    the `neighbours` most similar (cosine) to the other in a view. With A the adjacency (without
    gradient), d = A 1, 2m = sum(d), S the soft assignment of n nodes to k segments:

        modularity: 1 - (tr(S' A S) - |S' d|^2 / 2m) / 2m
        collapse:   sqrt(k) / n * |S' 1| - 1

    averaged over images; both are 0 at best. The normalisation is the published one (DMoN:
    Tsitsulin et al., 2023). Segments of different views are grown from seeds of their own, so their
    numbers mean nothing to each other: each of the second view counts as the most similar one of
    the first. Empty tokens are no nodes.

    Args:
        weights: Weight of every grouping, or one for each, fine to coarse.
        neighbours: Neighbours of a node in each view.
    """

    def __init__(
        self,
        weights: Weight | Sequence[Weight] = 1.0,
        neighbours: Annotated[int, Field(ge=1)] = 2,
    ) -> None:
        super().__init__(weights)
        self.neighbours = neighbours

    def of_level(self, first: Hierarchy, second: Hierarchy, level: int) -> Tensor:
        """Modularity plus collapse of a grouping."""
        nodes = (first.levels[level], second.levels[level])
        segments = (first.levels[level + 1], second.levels[level + 1])
        adjacency = _adjacency(*nodes, self.neighbours)
        assignment = torch.cat([_soft(nodes[0]), _soft(nodes[1]) @ _nearest(*segments)], 1)

        degree = adjacency.sum(-1)
        edges = degree.sum(-1)
        within = (assignment * (adjacency @ assignment)).sum((1, 2))
        expected = (degree[:, None] @ assignment).square().sum((1, 2)) / edges
        modularity = 1 - (within - expected) / edges

        count = (~torch.cat([view.padding for view in nodes], 1)).sum(1)
        sizes = assignment.sum(1)
        collapse = sizes.norm(dim=1) * (~segments[0].padding).sum(1).sqrt() / count - 1
        return torch.mean(modularity + collapse)


class CentroidContrastive(Regularizer):
    """Pushes segments apart: each must be told from all others of the global batch.

    For unit vectors c of all segments of both views in all processes, each a class of its own, the
    mean over a of -log(exp(kappa c_a.c_a) / sum_b exp(kappa c_a.c_b)). The positive is a copy of
    the anchor, so nothing is pulled together. Missing segments are left out.

    Args:
        weights: Weight of every grouping, or one for each, fine to coarse.
        concentration: Kappa.
    """

    block = 4096
    """Anchors compared at a time: the similarities of all would fill the memory."""

    def __init__(
        self,
        weights: Weight | Sequence[Weight] = 1.0,
        concentration: Annotated[float, Field(gt=0)] = 16.0,
    ) -> None:
        super().__init__(weights)
        self.concentration = concentration

    def of_level(self, first: Hierarchy, second: Hierarchy, level: int) -> Tensor:
        """Contrast of the segments that a grouping made."""
        views = (first.levels[level + 1], second.levels[level + 1])
        segments = torch.cat([view.tokens for view in views]).flatten(0, 1)
        there = (~torch.cat([view.padding for view in views])).flatten().float()
        anchors = F.normalize(_precise(segments), dim=1)
        everyone, counted = gather(anchors), gather(there)
        losses = [
            checkpoint(
                self._contrast,
                *(anchors[start : start + self.block], there[start : start + self.block]),
                *(everyone, counted),
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for start in range(0, len(anchors), self.block)
        ]
        # Processes have different numbers of anchors; the mean of their losses counts each once.
        return torch.stack(losses).sum() * world_size() / counted.sum()

    def _contrast(
        self, anchors: Tensor, there: Tensor, everyone: Tensor, counted: Tensor
    ) -> Tensor:
        similar = (self.concentration * anchors @ everyone.mT).masked_fill(counted == 0, -torch.inf)
        own = self.concentration * anchors.square().sum(1)
        return ((similar.logsumexp(1) - own) * there).sum()


def _soft(level: Level) -> Tensor:
    """Soft assignment (B, N, K), zero for empty tokens."""
    assert level.assignment is not None
    return _precise(level.assignment).softmax(-1).masked_fill(level.padding[..., None], 0)


@torch.no_grad()
def _nearest(first: Level, second: Level) -> Tensor:
    """One-hot index of the segment in `first` most similar to each of `second` (B, K2, K1)."""
    similarity = _unit(second) @ _unit(first).mT
    similarity = similarity.masked_fill(first.padding[:, None], -torch.inf)
    return one_hot(similarity.argmax(-1), first.tokens.size(1)).to(similarity)


@torch.no_grad()
def _adjacency(first: Level, second: Level, neighbours: int) -> Tensor:
    """Symmetric 0-1 matrix of neighbours over the tokens of both views (B, N, N)."""
    unit = torch.cat([_unit(first), _unit(second)], 1)
    empty = torch.cat([first.padding, second.padding], 1)
    similarity = unit @ unit.mT
    similarity = similarity.masked_fill(empty[:, None] | empty[..., None], -torch.inf)
    similarity.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    near = []
    for view in torch.split(similarity, [first.tokens.size(1), second.tokens.size(1)], dim=2):
        least = view.topk(min(neighbours, view.size(2)), dim=2).values[..., -1:]
        near.append((view >= least) & view.isfinite())
    adjacency = torch.cat(near, 2)
    return (adjacency | adjacency.mT).to(similarity)


def _unit(level: Level) -> Tensor:
    return F.normalize(_precise(level.tokens), dim=-1)


def _precise(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
