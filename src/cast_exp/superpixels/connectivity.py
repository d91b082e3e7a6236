"""Connected pieces of label maps, and the merging of those too small to stand alone."""

import torch
from torch import Tensor

LEAST_SHARE = 8  # the least area of a superpixel is the mean area over this
STEPS = 256  # colours are summed as integers, in this fraction of a unit


def connected_components(labels: Tensor) -> Tensor:
    """Number the 4-connected pieces of equal label.

    Joins horizontal runs of equal label rather than pixels, which are about ten times as many. In
    every round each root takes on the smallest root that touches it, until none differs.

    Args:
        labels: int64 (B, H, W).

    Returns:
        int64 (B, H, W): ``0..N-1`` over the whole batch, in the order of their first pixels.
    """
    starts = torch.ones_like(labels, dtype=torch.bool)
    starts[..., 1:] = labels[..., 1:] != labels[..., :-1]
    runs = (starts.flatten().cumsum(0) - 1).view(labels.shape)
    touching = labels[:, 1:] == labels[:, :-1]
    # Two runs touch in many columns; the first of them suffices.
    touching[..., 1:] &= starts[:, 1:, 1:] | starts[:, :-1, 1:]
    upper, lower = runs[:, :-1][touching], runs[:, 1:][touching]

    ids = torch.arange(int(runs[-1, -1, -1]) + 1, device=labels.device)
    root = ids
    while True:
        one, other = root[upper], root[lower]
        if torch.equal(one, other):
            break
        low, high = torch.minimum(one, other), torch.maximum(one, other)
        root = _follow(root.scatter_reduce(0, high, low, "amin"))
    return ((root == ids).cumsum(0) - 1)[root][runs]


def merge_fragments(labels: Tensor, colours: Tensor) -> Tensor:
    """Make every superpixel one 4-connected piece of at least 1/8 of the mean area.

    A piece is a fragment if it is not the largest of its label, or smaller than 1/8 of the mean
    area of the superpixels. In rounds, every fragment joins the adjacent piece of the most similar
    mean colour, until none is left. All sums are of integers, so that the result does not depend
    on the order in which threads add.

    Args:
        labels: int64 (B, H, W).
        colours: float (B, C, H, W) in a space in which Euclidean distances make sense.

    Returns:
        int64 (B, H, W): ``0..K-1`` for each image; K is at most the number of labels before.
    """
    area = labels[0].numel()
    pieces = connected_components(labels)
    flat = pieces.flatten()
    ids = torch.arange(int(pieces.max()) + 1, device=labels.device)

    first = torch.full_like(ids, flat.numel())
    first.scatter_reduce_(0, flat, torch.arange(flat.numel(), device=labels.device), "amin")
    image = first // area
    size = flat.bincount()
    steps = (colours * STEPS).round().long().movedim(1, -1).flatten(0, 2)
    colour = steps.new_zeros(len(ids), steps.shape[1]).index_add_(0, flat, steps)
    owner = image * (labels.max() + 1) + labels.flatten()[first]
    main = _is_largest(owner, size)
    one, other = _contacts(pieces)

    group = ids
    while True:
        superpixels = image.new_zeros(len(labels)).index_add_(0, image, main.long())
        fragment = ~main | (size * superpixels[image] * LEAST_SHARE < area)
        joining = fragment[one] & (one != other)
        if not joining.any():
            break
        parent = _most_similar(one[joining], other[joining], colour / size[:, None])
        size = torch.zeros_like(size).index_add_(0, parent, size)
        colour = torch.zeros_like(colour).index_add_(0, parent, colour)
        main = image.new_zeros(len(ids)).index_add_(0, parent, main.long()) > 0
        one, other, group = parent[one], parent[other], parent[group]

    kept = group == ids
    numbers = kept.cumsum(0) - 1
    before = image.new_zeros(len(labels) + 1).index_add_(0, image + 1, kept.long()).cumsum(0)
    return (numbers - before[image])[group][pieces]


def _follow(parent: Tensor) -> Tensor:
    """Replace each parent by the last one of its chain."""
    while True:
        grandparent = parent[parent]
        if torch.equal(grandparent, parent):
            return parent
        parent = grandparent


def _is_largest(owner: Tensor, size: Tensor) -> Tensor:
    """Whether a piece is the largest of its owner, bool (N,); the first of equals."""
    rank = size * len(size) - torch.arange(len(size), device=size.device)
    best = rank.new_zeros(int(owner.max()) + 1)
    return best.scatter_reduce_(0, owner, rank, "amax")[owner] == rank


def _contacts(pieces: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of pieces at neighbouring pixels, each pair in both orders, with repetitions."""
    beside = pieces[..., 1:] != pieces[..., :-1]
    below = pieces[:, 1:] != pieces[:, :-1]
    one = torch.cat([pieces[..., :-1][beside], pieces[:, :-1][below]])
    other = torch.cat([pieces[..., 1:][beside], pieces[:, 1:][below]])
    return torch.cat([one, other]), torch.cat([other, one])


def _most_similar(one: Tensor, other: Tensor, mean: Tensor) -> Tensor:
    """Let each piece in ``one`` join its most similar partner in ``other``.

    Similarity is symmetric and ties go to the smaller number, so following the choices can only
    end in a piece that does not choose, or in two that choose each other; of those the one with
    the smaller number takes the other.

    Returns:
        The piece that each piece becomes part of, int64 (N,).
    """
    ids = torch.arange(len(mean), device=mean.device)
    unlikeness = (mean[one] - mean[other]).square().sum(1).long()
    none = torch.iinfo(torch.int64).max
    best = torch.full_like(ids, none)
    best.scatter_reduce_(0, one, unlikeness * len(ids) + other, "amin")
    parent = torch.where(best < none, best % len(ids), ids)
    parent = torch.where((parent[parent] == ids) & (ids < parent), ids, parent)
    return _follow(parent)
