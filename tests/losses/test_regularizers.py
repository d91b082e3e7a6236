import math
from collections.abc import Sequence

import pytest
import torch
from support.exchanges import segment_contrast
from support.two_ranks import on_two_ranks
from torch import Tensor
from torch.nn import functional as F

from cast_exp.errors import UserError
from cast_exp.losses import (
    CentroidContrastive,
    Clustering,
    NormalizedCut,
    Regularizer,
    SegmentContrastive,
)
from cast_exp.models import Hierarchy, Level, create_model
from cast_exp.models.pooling import Pooling


def random_hierarchy(
    batch: int, counts: Sequence[int], dim: int, empty: bool = False, seed: int = 0
) -> Hierarchy:
    """Levels of `counts` random tokens; with `empty`, some at each level are missing."""
    draw = torch.Generator().manual_seed(seed)
    levels = []
    for count, following in zip(counts, [*counts[1:], None], strict=True):
        tokens = torch.randn(batch, count, dim, generator=draw)
        present = torch.randint(max(1, count // 2), count + 1, (batch, 1), generator=draw)
        padding = (torch.arange(count) >= present) & torch.tensor(empty)
        scores = following and torch.randn(batch, count, following, generator=draw)
        levels.append((tokens, padding, scores))
    return Hierarchy(
        torch.randn(batch, dim, generator=draw),
        torch.zeros(batch, 1, 1).long(),
        tuple(
            Level(tokens, padding, scores if scores is None else hide(scores, levels[i + 1][1]))
            for i, (tokens, padding, scores) in enumerate(levels)
        ),
    )


def hide(scores: Tensor, missing: Tensor) -> Tensor:
    return scores.masked_fill(missing[:, None], -torch.inf)


def slow_clustering(first: Hierarchy, second: Hierarchy, level: int, neighbours: int) -> float:
    """The definition, image by image and node by node, without empty nodes."""
    total = 0.0
    for image in range(len(first.cls)):
        nodes, group, rows = [], [], []
        centres = []
        for view in (first, second):
            segments = view.levels[level + 1]
            centres.append(segments.tokens[image][~segments.padding[image]])
        for number, view in enumerate((first, second)):
            part = view.levels[level]
            for i in range(part.tokens.size(1)):
                if part.padding[image, i]:
                    continue
                nodes.append(part.tokens[image, i])
                group.append(number)
                scores = part.assignment[image, i].exp()
                shares = (scores / scores.sum())[: len(centres[number])]
                row = [0.0] * len(centres[0])
                for k, share in enumerate(shares):
                    centre = centres[number][k]
                    likes = [F.cosine_similarity(centre, c, dim=0).item() for c in centres[0]]
                    row[likes.index(max(likes))] += float(share)
                rows.append(row)
        n, k = len(nodes), len(centres[0])
        adjacent = [[0.0] * n for _ in range(n)]
        for i in range(n):
            for number in (0, 1):
                others = [j for j in range(n) if j != i and group[j] == number]
                others.sort(key=lambda j: -F.cosine_similarity(nodes[i], nodes[j], dim=0).item())
                for j in others[:neighbours]:
                    adjacent[i][j] = adjacent[j][i] = 1.0
        degree = [sum(row) for row in adjacent]
        twice = sum(degree)
        modularity = 1.0
        for i in range(n):
            for j in range(n):
                same = sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
                modularity -= (adjacent[i][j] - degree[i] * degree[j] / twice) * same / twice
        collapse = math.hypot(*(sum(column) for column in zip(*rows, strict=True)))
        total += modularity + collapse * math.sqrt(k) / n - 1
    return total / len(first.cls)


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize(
    ("batch", "counts", "neighbours"), [(3, (6, 3), 2), (2, (9, 4, 2), 1), (2, (5, 3), 50)]
)
def test_clustering_equals_the_slow_one(
    batch: int, counts: tuple[int, ...], neighbours: int, empty: bool
) -> None:
    first = random_hierarchy(batch, counts, 4, empty, seed=1)
    second = random_hierarchy(batch, counts, 4, empty, seed=2)
    depth = len(counts) - 1
    weights = [0.5, 2.0][:depth]
    slow = [slow_clustering(first, second, level, neighbours) for level in range(depth)]
    wanted = sum(w * s for w, s in zip(weights, slow, strict=True)) / depth
    assert Clustering(weights, neighbours)(first, second).item() == pytest.approx(wanted, abs=1e-5)
    same = Clustering(1.0, neighbours)(first, second).item()
    assert same == pytest.approx(sum(slow) / depth, abs=1e-5)


def slow_graph(
    first: Hierarchy, second: Hierarchy, level: int, image: int, neighbours: int
) -> tuple[Tensor, Tensor]:
    """Adjacency and soft assignment of the tokens of an image that are not empty."""
    nodes, owner, rows = [], [], []
    centres = [v.levels[level + 1].tokens[image] for v in (first, second)]
    for number, view in enumerate((first, second)):
        for i, empty in enumerate(view.levels[level].padding[image]):
            if not empty:
                nodes.append(F.normalize(view.levels[level].tokens[image, i], dim=0))
                owner.append(number)
                row = torch.zeros(len(centres[0]))
                for k, share in enumerate(view.levels[level].assignment[image, i].softmax(0)):
                    likes = F.cosine_similarity(centres[number][k][None], centres[0])
                    row[int(likes.argmax())] += share
                rows.append(row)
    adjacent = torch.zeros(len(nodes), len(nodes))
    for i, node in enumerate(nodes):
        for number in (0, 1):
            others = [j for j in range(len(nodes)) if j != i and owner[j] == number]
            others.sort(key=lambda j: -float(node @ nodes[j]))
            for j in others[:neighbours]:
                adjacent[i, j] = adjacent[j, i] = 1
    return adjacent, torch.stack(rows)


@pytest.mark.parametrize("batch", [1, 3])
def test_normalised_cut_equals_the_slow_one(batch: int) -> None:
    views = [random_hierarchy(batch, (9, 4), 5, seed=s) for s in (1, 2)]
    wanted = 0.0
    for image in range(batch):
        adjacent, shares = slow_graph(*views, 0, image, 2)
        for k in range(4):
            inside, degree = shares[:, k], adjacent.sum(1)
            wanted += float(inside @ adjacent @ (1 - inside) / (degree @ inside + 0.01)) / batch
        wanted -= float((shares.clamp(1e-5, 1).log() * shares).sum() / len(shares)) / batch
    assert NormalizedCut()(*views).item() == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(("block", "empty"), [(3, False), (4096, True)])
def test_segment_contrast_equals_the_slow_one(
    block: int, empty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SegmentContrastive, "block", block)
    views = [random_hierarchy(2, (9, 4), 5, empty, seed=s) for s in (1, 2)]
    tokens, segments = [], {}
    for number, view in enumerate(views):
        part = view.levels[0]
        for image in range(2):
            for i, missing in enumerate(part.padding[image]):
                if not missing:
                    own = (number, image, int(part.assignment[image, i].argmax()))
                    tokens.append((F.normalize(part.tokens[image, i], dim=0), own))
                    segments.setdefault(own, []).append(tokens[-1][0])
    labels = {}
    for number, image, k in segments:
        first, mine = (v.levels[1] for v in (views[0], views[number]))
        likes = F.cosine_similarity(mine.tokens[image, k][None], first.tokens[image])
        likes[first.padding[image]] = -2
        labels[number, image, k] = (image, int(likes.argmax()) if number else k)
    means = {own: F.normalize(sum(found), dim=0) for own, found in segments.items()}
    total = 0.0
    for token, own in tokens:
        e = {other: math.exp(16 * float(token @ mean)) for other, mean in means.items()}
        positive = sum(e[o] for o in e if labels[o] == labels[own] and o != own) or e[own]
        negative = sum(e[o] for o in e if labels[o] != labels[own])
        total -= math.log(positive / (positive + negative))
    loss = SegmentContrastive()(*views)
    assert loss.item() == pytest.approx(total / len(tokens), rel=1e-4)


def grouped(scores: Tensor) -> Hierarchy:
    """Two kinds of tokens, eight each, and two segments; `scores` groups them."""
    tokens = torch.eye(2).repeat_interleave(8, 0) + 0.1 * torch.randn(16, 2)
    none = torch.zeros(1, 16, dtype=torch.bool)
    fine = Level(tokens[None], none, scores[None])
    coarse = Level(torch.eye(2)[None], none[:, :2], None)
    return Hierarchy(tokens[:1], torch.zeros(1, 1, 1).long(), (fine, coarse))


def test_clustering_prefers_what_looks_alike() -> None:
    alike = 20.0 * torch.eye(2).repeat_interleave(8, 0)
    losses = {
        name: Clustering()(*(grouped(scores) for _ in range(2))).item()
        for name, scores in {
            "alike": alike,
            "all in one": torch.tensor([20.0, 0]).expand(16, 2),
            "evenly mixed": alike.view(2, 8, 2).transpose(0, 1).reshape(16, 2),
            "undecided": torch.zeros(16, 2),
        }.items()
    }
    assert losses["alike"] == pytest.approx(0.5, abs=0.01)  # 1 - (1 - 1/2) and no collapse
    assert losses["all in one"] == pytest.approx(1 + math.sqrt(2) - 1, abs=0.01)
    assert min(losses.values()) == losses["alike"]


def test_clustering_trains_the_assignment_alone() -> None:
    views = [random_hierarchy(2, (6, 3), 4, seed=s) for s in (1, 2)]
    for view in views:
        for part in view.levels:
            part.tokens.requires_grad_()
        view.levels[0].assignment.requires_grad_()
    Clustering()(*views).backward()
    assert all(part.tokens.grad is None for view in views for part in view.levels)
    assert all(view.levels[0].assignment.grad.abs().sum() > 0 for view in views)


def slow_contrast(first: Hierarchy, second: Hierarchy, level: int, kappa: float) -> float:
    centres = []
    for view in (first, second):
        part = view.levels[level + 1]
        centres += [t / t.norm() for t in part.tokens[~part.padding].double()]
    total = 0.0
    for a in centres:
        total -= math.log(
            math.exp(kappa * a.dot(a)) / sum(math.exp(kappa * a.dot(b)) for b in centres)
        )
    return total / len(centres)


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("block", [3, 4096])
@pytest.mark.parametrize(("batch", "counts"), [(1, (4, 2)), (3, (9, 6, 4))])
def test_centroid_contrast_equals_the_slow_one(
    batch: int, counts: tuple[int, ...], block: int, empty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CentroidContrastive, "block", block)
    first = random_hierarchy(batch, counts, 5, empty, seed=1)
    second = random_hierarchy(batch, counts, 5, empty, seed=2)
    depth = len(counts) - 1
    slow = [slow_contrast(first, second, level, 16.0) for level in range(depth)]
    loss = CentroidContrastive()(first, second)
    assert loss.item() == pytest.approx(sum(slow) / depth, abs=1e-5)


@pytest.mark.parametrize("kind", [CentroidContrastive, SegmentContrastive])
def test_contrast_of_two_processes_equals_one(kind: type[Regularizer]) -> None:
    tokens = [torch.randn(2, 5, 4), torch.randn(2, 5, 4)]
    padding = [torch.zeros(2, 5, dtype=torch.bool) for _ in range(2)]
    padding[1][:, 2:] = True  # processes have different numbers of segments
    results = on_two_ranks(segment_contrast, kind, tokens, padding)

    joint = segment_contrast(kind, [torch.cat(tokens)], [torch.cat(padding)])
    mean = sum(result["loss"] for result in results) / 2
    torch.testing.assert_close(mean, joint["loss"])
    gradients = torch.cat([result["gradient"] for result in results]) / 2
    torch.testing.assert_close(gradients, joint["gradient"])


@pytest.mark.parametrize("regularizer", [Clustering, CentroidContrastive])
def test_weights_must_suit_the_levels(regularizer: type[Clustering | CentroidContrastive]) -> None:
    views = [random_hierarchy(2, (6, 4, 2), 4, seed=s) for s in (1, 2)]
    only_second = regularizer([0, 1.0])(*views)
    both = regularizer()(*views)
    first = regularizer([1.0, 0])(*views)
    torch.testing.assert_close(only_second + first, both)
    assert regularizer(0)(*views) == 0
    with pytest.raises(UserError, match=r"3 weights for 2 groupings.*train_last_grouping"):
        regularizer([1, 1, 1])(*views)
    flat = [random_hierarchy(2, (6,), 4, seed=s) for s in (1, 2)]
    with pytest.raises(UserError, match="for 0 groupings"):
        regularizer()(*flat)


def test_both_train_every_level_of_a_model() -> None:
    torch.manual_seed(0)
    model = create_model("cast_tiny", pooling=Pooling((8, 6, 4, 2)), train_last_grouping=True)
    images = torch.randn(2, 3, 64, 64)
    superpixels = torch.arange(16).view(4, 4).repeat_interleave(16, 0).repeat_interleave(16, 1)
    superpixels = superpixels.expand(2, -1, -1).clone()
    superpixels[0, superpixels[0] == 7] = 6  # one is empty in one image
    with torch.autocast("cpu", torch.bfloat16):
        views = [model(view, superpixels) for view in (images, images.flip(-1))]
        loss = Clustering()(*views) + CentroidContrastive()(*views)
    assert loss.dtype == torch.float32
    loss.backward()
    for grouping in model.groupings:
        assert all(p.grad is not None and p.grad.isfinite().all() for p in grouping.shaping())
        assert any(p.grad.abs().sum() > 0 for p in grouping.shaping())
