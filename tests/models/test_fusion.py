"""The fusion block."""

import pytest
import torch

from cast_exp.models.fusion import Fusion


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
    padding = torch.arange(10).expand(2, -1) > 7 if empty else None
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
