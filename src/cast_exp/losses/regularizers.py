"""Regularisers of the hierarchy (the paper's ablation; Hierarchical Segment Grouping, 2022)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from cast_exp.distributed import gather, rank, world_size
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
        adjacency, assignment = _graph(first, second, level, self.neighbours)
        degree = adjacency.sum(-1)
        edges = degree.sum(-1)
        within = (assignment * (adjacency @ assignment)).sum((1, 2))
        expected = (degree[:, None] @ assignment).square().sum((1, 2)) / edges
        modularity = 1 - (within - expected) / edges

        count = (~torch.cat([view.padding for view in nodes], 1)).sum(1)
        sizes = assignment.sum(1)
        collapse = sizes.norm(dim=1) * (~first.levels[level + 1].padding).sum(1).sqrt() / count - 1
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
        total = _in_blocks(self._contrast, self.block, (anchors, there), (everyone, counted))
        # Processes have different numbers of anchors; the mean of their losses counts each once.
        return total * world_size() / counted.sum()

    def _contrast(
        self, anchors: Tensor, there: Tensor, everyone: Tensor, counted: Tensor
    ) -> Tensor:
        similar = (self.concentration * anchors @ everyone.mT).masked_fill(counted == 0, -torch.inf)
        own = self.concentration * anchors.square().sum(1)
        return ((similar.logsumexp(1) - own) * there).sum()


class NormalizedCut(Regularizer):
    """Cuts few edges, and is sure of it: normalised cut and entropy.

    The graph and the soft assignment S of its nodes are those of `Clustering`:

        cut:     sum_k S_k' A (1 - S_k) / (d' S_k + 0.01)
        entropy: -sum_k S_ik log S_ik, averaged over the nodes

    averaged over images. The authors' earlier code (HSG) has it and does not use it.

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
        """Normalised cut plus entropy of a grouping."""
        adjacency, assignment = _graph(first, second, level, self.neighbours)
        cut = (assignment * (adjacency @ (1 - assignment))).sum(1)
        volume = (adjacency.sum(-1, keepdim=True) * assignment).sum(1)
        there = ~torch.cat([first.levels[level].padding, second.levels[level].padding], 1)
        entropy = torch.special.entr(assignment).sum((1, 2)) / there.sum(1)
        return torch.mean((cut / (volume + 0.01)).sum(1) + entropy)


class SegmentContrastive(Regularizer):
    """Draws tokens to the segments that they are in, away from all others of the global batch.

    A segment's prototype is the unit mean of its unit tokens. Segments of the second view have the
    number of the most similar one of the first. With e = exp(kappa t.s) of a token t and prototypes
    s, the mean over tokens of -log(P / (P + N)): P is the sum of e over the segments of the same
    image and number but the token's own, or of its own where there is no other; N over those of
    other numbers and images. So is the pixel-to-segment contrast (SegSort+) of HSG.

    Args:
        weights: Weight of every grouping, or one for each, fine to coarse.
        concentration: Kappa.
    """

    block = 4096
    """Tokens compared at a time."""

    def __init__(
        self,
        weights: Weight | Sequence[Weight] = 1.0,
        concentration: Annotated[float, Field(gt=0)] = 16.0,
    ) -> None:
        super().__init__(weights)
        self.concentration = concentration

    def of_level(self, first: Hierarchy, second: Hierarchy, level: int) -> Tensor:
        """Contrast of the tokens that are grouped with the segments they make."""
        views, above = (first, second), level + 1
        numbers = _nearest(first.levels[above], second.levels[above]).argmax(-1)
        images, count = numbers.shape
        start = count * (images * rank() + torch.arange(images, device=numbers.device))[:, None]
        labels = torch.stack([torch.arange(count, device=start.device) + start, numbers + start])
        unit = torch.stack([_unit(view.levels[level]) for view in views])
        there = ~torch.stack([view.levels[level].padding for view in views])
        scores = [view.levels[level].assignment for view in views]
        index = torch.stack([each.argmax(-1) for each in scores if each is not None])
        members = one_hot(index, count) & there[..., None]
        prototypes = F.normalize(members.mT.to(unit) @ unit, dim=-1).flatten(0, 2)
        own = torch.arange(2 * images * count, device=start.device).view(2, images, count)
        own = (own + rank() * own.numel()).gather(2, index).flatten()
        token_labels = labels.gather(2, index).flatten()
        tokens, counts = unit.flatten(0, 2), there.flatten().float()
        everyone = gather(prototypes)
        everyones, alive = gather(labels.flatten()), gather(members.any(2).flatten().float()) > 0
        total = _in_blocks(
            self._contrast,
            self.block,
            (tokens, counts, token_labels, own),
            (everyone, everyones, alive),
        )
        return total * world_size() / gather(counts).sum()

    def _contrast(
        self,
        tokens: Tensor,
        counts: Tensor,
        labels: Tensor,
        own: Tensor,
        everyone: Tensor,
        everyones: Tensor,
        alive: Tensor,
    ) -> Tensor:
        mine = own[:, None] == torch.arange(len(everyone), device=own.device)
        same = labels[:, None] == everyones
        others = same & ~mine & alive
        positive = torch.where(others.any(1, keepdim=True), others, mine)
        similar = self.concentration * tokens @ everyone.mT
        top = similar.masked_fill(~positive, -torch.inf).logsumexp(1)
        rest = positive | (alive & ~same)
        bottom = similar.masked_fill(~rest, -torch.inf).logsumexp(1)
        return ((bottom - top) * counts).sum()


def _in_blocks(
    contrast: Callable[..., Tensor], block: int, each: Sequence[Tensor], all_of: Sequence[Tensor]
) -> Tensor:
    """Sum of a contrast of some with all, in blocks whose similarities are computed again for the
    gradient: those of all together would fill the memory.

    Args:
        contrast: Takes a block of each of `each`, then `all_of`; the sum over the block.
        block: Its length.
        each: Tensors of equal length.
        all_of: What every block is compared with.
    """
    losses = [
        checkpoint(
            contrast,
            *(tensor[start : start + block] for tensor in each),
            *all_of,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for start in range(0, len(each[0]), block)
    ]
    return torch.stack(losses).sum()


def _graph(
    first: Hierarchy, second: Hierarchy, level: int, neighbours: int
) -> tuple[Tensor, Tensor]:
    """Adjacency (B, N, N) of the tokens of both views at a level, and their soft assignment.

    Segments of the second view count as the most similar ones of the first.
    """
    nodes = (first.levels[level], second.levels[level])
    segments = (first.levels[level + 1], second.levels[level + 1])
    assignment = torch.cat([_soft(nodes[0]), _soft(nodes[1]) @ _nearest(*segments)], 1)
    return _adjacency(*nodes, neighbours), assignment


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
