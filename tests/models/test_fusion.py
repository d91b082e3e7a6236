"""The fusion block."""

import pytest
import torch

from cast_exp.models.fusion import Fusion
from cast_exp.models.heads import SegmentationHead


@pytest.mark.parametrize("empty", [False, True])
@torch.no_grad()
def test_evaluation_is_copying_concatenating_normalising_and_projecting(empty):
    torch.manual_seed(0)
    fusion = Fusion(6, 3).eval()
    fusion.norm.running_mean.normal_()
    fusion.norm.running_var.uniform_(0.5, 2)
    fusion.norm.weight.normal_()
    fusion.norm.bias.normal_()
    tokens = [torch.randn(2, count, 6) for count in (10, 4, 10)]
    labels = [torch.arange(10).expand(2, -1), torch.randint(4, (2, 10)), torch.randint(10, (2, 10))]
    cls_tokens = [torch.randn(2, 1, 6) for _ in range(3)]
    padding = torch.arange(10).expand(2, -1) > (7 if empty else 9)
    cls, fused = fusion(tokens, labels, cls_tokens, padding)
    for image in range(2):
        for k in range(10):
            copied = torch.cat(
                [t[image, index[image, k]] for t, index in zip(tokens, labels, strict=True)]
            )
            expected = fusion.projection(fusion.norm(copied[None]))[0]
            if empty and k > 7:
                expected = torch.zeros(6)
            torch.testing.assert_close(fused[image, k], expected)
        column = torch.cat([c[image, 0] for c in cls_tokens])
        torch.testing.assert_close(cls[image], fusion.projection(fusion.norm(column[None]))[0])


@pytest.mark.parametrize("mask_empty", [True, False])
def test_training_normalises_the_copies_of_class_tokens_and_of_what_is_not_empty(mask_empty):
    torch.manual_seed(0)
    fusion = Fusion(6, 2, dropout=0.0, mask_empty=mask_empty)
    tokens = [torch.randn(2, 8, 6), torch.randn(2, 3, 6)]
    labels = [torch.arange(8).expand(2, -1), torch.randint(3, (2, 8))]
    cls_tokens = [torch.randn(2, 1, 6) for _ in range(2)]
    padding = torch.arange(8) > torch.tensor([[7], [4]])

    there = ~padding if mask_empty else torch.ones_like(padding)
    rows = [torch.cat([part[image, 0] for part in cls_tokens]) for image in range(2)]
    for image, k in there.nonzero().tolist():
        rows.append(torch.cat([t[image, i[image, k]] for t, i in zip(tokens, labels, strict=True)]))
    norm = torch.nn.BatchNorm1d(12)
    expected = fusion.projection(norm(torch.stack(rows)))

    cls, fused = fusion(tokens, labels, cls_tokens, padding)
    torch.testing.assert_close(torch.cat([cls, fused[there]]), expected)
    assert not fused[~there].any()
    torch.testing.assert_close(dict(fusion.norm.state_dict()), dict(norm.state_dict()))


def test_training_is_one_graph():
    """The masked norm, the head and what is around them, without a break."""
    torch.manual_seed(0)
    fusion, head = Fusion(6, 2, dropout=0.0), SegmentationHead(6, 3)
    tokens = [torch.randn(2, 8, 6), torch.randn(2, 3, 6)]
    labels = [torch.arange(8).expand(2, -1), torch.randint(3, (2, 8))]
    cls_tokens = [torch.randn(2, 1, 6) for _ in range(2)]
    padding = torch.arange(8) > torch.tensor([[7], [4]])

    def scores():
        return head(fusion(tokens, labels, cls_tokens, padding)[1], padding)

    expected = scores()
    found = torch.compile(scores, fullgraph=True, backend="aot_eager")()
    torch.testing.assert_close(found, expected)
    parameters = [*fusion.parameters(), *head.parameters()]
    weight = torch.randn_like(expected)
    gradients = [
        torch.autograd.grad((out * weight).sum(), parameters, allow_unused=True)
        for out in (expected, found)
    ]
    torch.testing.assert_close(gradients[1], gradients[0])
