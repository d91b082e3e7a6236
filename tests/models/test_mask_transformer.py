"""The mask transformer against its formulas, spelled out for one image at a time."""

import pytest
import torch
from torch import Tensor, nn

from cast_exp.models import MaskTransformer


def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt() * layer.weight + layer.bias
    )


def plain_scores(decoder: MaskTransformer, features: Tensor, heads: int) -> Tensor:
    """Scores of the superpixels that are there (N, C), head by head and pair by pair."""
    x = features @ decoder.project.weight.T + decoder.project.bias
    x = torch.cat([x, decoder.class_tokens[0]])
    width = x.size(1) // heads
    for block in decoder.blocks:
        parts = norm(block.norm1, x) @ block.attn.qkv.weight.T + block.attn.qkv.bias
        query, key, value = parts.chunk(3, 1)
        seen = []
        for first in range(0, x.size(1), width):
            own = slice(first, first + width)
            weights = (query[:, own] @ key[:, own].T / width**0.5).exp()
            seen.append(weights / weights.sum(1, keepdim=True) @ value[:, own])
        x = x + torch.cat(seen, 1) @ block.attn.proj.weight.T + block.attn.proj.bias
        hidden = norm(block.norm2, x) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        x = x + hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
    x = norm(decoder.norm, x)
    scores = torch.zeros(len(features), decoder.classes)
    for number, token in enumerate(x[: len(features)] @ decoder.superpixel_matrix):
        for name, kind in enumerate(x[len(features) :] @ decoder.class_matrix):
            scores[number, name] = token @ kind / token.norm() / kind.norm()
    return norm(decoder.score_norm, scores)


@torch.no_grad()
@pytest.mark.parametrize(("dim", "heads", "classes"), [(24, 1, 3), (96, 1, 2), (192, 3, 5)])
def test_scores_are_those_of_the_formulas(dim: int, heads: int, classes: int) -> None:
    """Of each image by itself, without what is no superpixel."""
    torch.manual_seed(0)
    decoder = MaskTransformer(dim, classes).eval()
    for parameter in decoder.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    features, padding = torch.randn(2, 7, dim), torch.arange(7) > torch.tensor([[6], [3]])
    found = decoder(features, padding)
    for scores, image, hidden in zip(found, features, padding, strict=True):
        expected = torch.zeros(7, classes)
        expected[~hidden] = plain_scores(decoder, image[~hidden], heads)
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)


def test_its_size_and_initialisation_are_those_of_the_release() -> None:
    decoder = MaskTransformer(384, 150)
    assert decoder.blocks[0].attn.num_heads == 6
    assert decoder.blocks[0].attn.attn_drop.p == decoder.blocks[0].mlp.drop1.p == 0.1
    block = 2 * 2 * 384 + 4 * 384**2 + 4 * 384 + 8 * 384**2 + 5 * 384
    others = 384**2 + 384 + 150 * 384 + 2 * 384**2 + 2 * 384 + 2 * 150
    assert sum(p.numel() for p in decoder.parameters()) == 2 * block + others
    before = decoder.state_dict()["class_tokens"].clone()
    decoder.reset_parameters()
    assert not torch.equal(decoder.class_tokens, before)
    assert decoder.class_tokens.std().item() == pytest.approx(0.02, rel=0.1)
    assert decoder.class_matrix.std().item() == pytest.approx(384**-0.5, rel=0.1)
    assert decoder.blocks[1].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_a_width_that_64_does_not_divide_has_heads_that_do() -> None:
    assert MaskTransformer(224, 2).blocks[0].attn.num_heads == 2
    assert MaskTransformer(48, 2).blocks[0].attn.num_heads == 1
