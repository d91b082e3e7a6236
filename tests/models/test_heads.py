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
@pytest.mark.parametrize("training", [False, True])
def test_scores_of_superpixels(classes: int, training: bool) -> None:
    """Each is a linear layer, batch norm, ReLU and a linear layer; those that are not there count
    nowhere and have none."""
    head = SegmentationHead(12, classes).train(training)
    assert list(dict(head.named_children())) == ["0", "1", "2", "3"]
    features, padding = torch.randn(2, 7, 12), torch.arange(7) > torch.tensor([[6], [2]])
    hidden = features[~padding] @ head[0].weight.T
    if training:
        hidden = (hidden - hidden.mean(0)) / hidden.var(0, correction=0).add(head[1].eps).sqrt()
    else:
        hidden = hidden / (1 + head[1].eps) ** 0.5
    expected = torch.zeros(2, 7, classes)
    expected[~padding] = hidden.clamp(min=0) @ head[3].weight.T + head[3].bias
    torch.testing.assert_close(head(features, padding), expected)
