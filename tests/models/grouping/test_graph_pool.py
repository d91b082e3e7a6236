"""Graph pooling against its formulas, one token after the other."""

import pytest
import torch
from torch.nn import functional as F

from cast_exp.models.grouping import GraphPool
from cast_exp.models.grouping.graph_pool import ASSIGNMENT_SCALE

DIM, TOKENS = 24, 10


def pool(**options: object) -> GraphPool:
    torch.manual_seed(0)
    return GraphPool(DIM, 3, **options).eval()


def tokens(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(batch, TOKENS, DIM, generator=generator),
        torch.randn(batch, 1, DIM, generator=generator),
    )


@torch.no_grad()
def test_segments_are_weighted_means_beside_their_seeds() -> None:
    module, (x, cls) = pool(), tokens()
    found = module(x, cls, 4)
    assert not found.padding.any()
    for image in range(2):
        features = x[image] + module.attention(module.norm(x[image][None]))[0]
        affinity = F.normalize(features - features.mean(0) + module.bias, dim=-1)
        seeds = found.seeds[image]
        scores = ASSIGNMENT_SCALE * affinity @ affinity[seeds].T
        torch.testing.assert_close(found.assignment[image], scores)
        weights = scores.softmax(-1)
        values = module.values(x[image])
        for k in range(4):
            mean = (weights[:, k, None] * values).sum(0) / weights[:, k].sum()
            expected = module.output(mean) + x[image][seeds[k]]
            torch.testing.assert_close(found.tokens[image, k], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.cls_token, module.output(module.values(cls)) + cls)


@torch.no_grad()
def test_seeds_are_far_from_the_mean_and_from_each_other() -> None:
    x, cls = tokens()
    found = pool()(x, cls, 5)
    for image in range(2):
        points = x[image].double()
        chosen = [points.mean(0)]
        for seed in found.seeds[image].tolist():
            distance = torch.stack([(points - c).norm(dim=-1) for c in chosen]).amin(0)
            assert distance.argmax() == seed
            chosen.append(points[seed])


@torch.no_grad()
def test_empty_tokens_change_nothing() -> None:
    module, (x, cls) = pool(), tokens(1)
    padding = torch.zeros(1, TOKENS, dtype=torch.bool)
    padding[0, [2, 7]] = True
    found = module(x, cls, 4, padding)
    alone = module(x[:, ~padding[0]], cls, 4)
    torch.testing.assert_close(found.tokens, alone.tokens, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.assignment[:, ~padding[0]], alone.assignment)
    official = pool(mask_empty=False)(x, cls, 4, padding)
    assert not {2, 7} & set(official.seeds[0].tolist())
    assert not torch.allclose(official.tokens, found.tokens)


@torch.no_grad()
def test_images_with_fewer_segments_have_missing_ones() -> None:
    module, (x, cls) = pool(), tokens()
    padding = torch.zeros(2, TOKENS, dtype=torch.bool)
    padding[0, 2:] = True
    found = module(x, cls, 5, padding)
    assert found.padding.tolist() == [[False, False, True, True, True], [False] * 5]
    assert (found.assignment[0, :, 2:] == -torch.inf).all()
    alone = module(x[:1, :2], cls[:1], 2)
    torch.testing.assert_close(found.tokens[0, :2], alone.tokens[0], atol=1e-5, rtol=1e-5)
    assert torch.isfinite(found.tokens).all()


@pytest.mark.parametrize("reads", ["segments", "class token"])
def test_what_shapes_segments_does_not_shape_the_class_token(reads: str) -> None:
    module, (x, cls) = pool(), tokens()
    found = module(x, cls, 4)
    (found.tokens if reads == "segments" else found.cls_token).square().sum().backward()
    shaping = {id(parameter) for parameter in module.shaping()}
    assert 0 < len(shaping) < len(list(module.parameters()))
    for name, parameter in module.named_parameters():
        used = parameter.grad is not None
        assert used == (reads == "segments" or id(parameter) not in shaping), name
