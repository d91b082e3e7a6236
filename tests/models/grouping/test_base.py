"""A grouping of one's own says what the segments are; the rest is there."""

import torch
from torch import nn

from cast_exp.models import Pooling, Size, create_model
from cast_exp.models.grouping import Grouping


class Runs(Grouping):
    """Segments are equal runs of tokens, whose projected means they become."""

    def __init__(self, dim, heads, mask_empty):
        super().__init__()
        self.project = nn.Linear(dim, dim)

    def group(self, given):
        batch, number, _ = given.tokens.shape
        labels = torch.arange(number) * given.segments // number
        members = nn.functional.one_hot(labels, given.segments).float()
        means = members.T / members.sum(0)[:, None] @ self.project(given.tokens)
        seeds = torch.arange(given.segments).expand(batch, -1)
        return means, members.expand(batch, -1, -1), seeds


def test_it_works_in_a_cast():
    size = Size(24, (1, 1, 1), heads=3)
    model = create_model(size, pooling=Pooling((8, 4, 2), Runs), image_size=32)
    maps = torch.arange(16).view(1, 4, 4).repeat_interleave(8, 1).repeat_interleave(8, 2)
    hierarchy = model(torch.randn(2, 3, 32, 32), maps.expand(2, -1, -1))
    for level, count in enumerate((8, 4, 2), start=1):
        expected = torch.arange(16) * count // 16
        assert (hierarchy.labels(level) == expected).all()
    hierarchy.cls.square().sum().backward()
    trained = [grouping.project.weight.grad is not None for grouping in model.groupings]
    assert trained == [True, True, False]  # nothing of the loss depends on the last


def test_it_is_told_which_images_have_fewer_segments():
    seen = []

    class Sees(Runs):
        def group(self, given):
            seen.append(given)
            return super().group(given)

    tokens, cls_token = torch.randn(2, 6, 24), torch.randn(2, 1, 24)
    grouping = Sees(24, 3, True)
    grouped = grouping(tokens, cls_token, torch.tensor([2, 4]))
    assert seen[0].segments == 4
    assert grouped.padding.tolist() == [[False, False, True, True], [False] * 4]
    assert torch.equal(seen[0].missing, grouped.padding)
    assert torch.equal(grouped.cls_token, cls_token)
    assert grouping(tokens, cls_token, 3).padding is None
    assert (seen[1].segments, seen[1].missing) == (3, None)
    assert list(grouping.shaping()) == list(grouping.parameters())
