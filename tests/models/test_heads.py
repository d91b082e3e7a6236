"""Layers of the heads."""

import pytest
import torch
from torch import nn

from cast_exp.models.heads import ContrastiveMLP, SegmentationHead


def test_the_projector_ends_with_a_norm_without_parameters() -> None:
    head = ContrastiveMLP(24, 32, 32, 16)
    assert [type(layer) for layer in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [
        nn.Linear,
        nn.BatchNorm1d,
    ]
    weights = 24 * 32 + 32 * 32 + 32 * 16
    assert sum(p.numel() for p in head.parameters()) == weights + 2 * 2 * 32
    output = head(3 + 2 * torch.randn(256, 24))
    torch.testing.assert_close(output.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.var(0, correction=0), torch.ones(16), atol=1e-2, rtol=0)


@pytest.mark.parametrize("classes", [1, 21])
def test_scores_of_superpixels(classes: int) -> None:
    head = SegmentationHead(12, classes).eval()
    features = torch.randn(7, 12)
    hidden = features @ head[0].weight.T / (1 + head[1].eps) ** 0.5
    expected = hidden.clamp(min=0) @ head[3].weight.T + head[3].bias
    assert head(features).shape == (7, classes)
    torch.testing.assert_close(head(features), expected)
