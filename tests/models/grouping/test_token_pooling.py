"""Token Pooling inside CAST: which tokens start a cluster, what a cluster becomes."""

from functools import partial

import pytest
import torch
from timm.models.vision_transformer import Block

from cast_exp.models import Pooling, Size, create_model
from cast_exp.models.attention import attention_map, attention_received
from cast_exp.models.grouping import KMeans, KMedoids, token_pooling

SIZE = Size(24, (1, 1, 1), heads=3)
GROUPINGS = [
    partial(kind, seeding=seeding)
    for kind in (KMeans, KMedoids)
    for seeding in ("attention", "random")
]


def maps():
    squares = (torch.arange(64)[:, None] // 8 * 8 + torch.arange(64) // 8).long()
    return torch.stack([squares, squares // 2 * 2, squares.clamp(max=9)])


@pytest.mark.parametrize("grouping", GROUPINGS)
@torch.no_grad()
def test_an_image_comes_out_the_same_alone_and_in_any_batch(grouping):
    torch.manual_seed(0)
    model = create_model(SIZE, pooling=Pooling((20, 9, 3), grouping), image_size=64).eval()
    images = torch.randn(3, 3, 64, 64)
    together = model(images, maps())
    for i in range(3):
        alone = model(images[i : i + 1], maps()[i : i + 1])
        torch.testing.assert_close(together.cls[i], alone.cls[0], atol=1e-5, rtol=1e-5)
        for level in range(4):
            same = together.segmentation(level)[i] == alone.segmentation(level)[0]
            assert same.all()
    assert len(together.segmentation(1)[0].unique()) == 20
    assert len(together.segmentation(3)[0].unique()) == 3


@pytest.mark.parametrize("kind", [KMeans, KMedoids])
def test_a_segment_is_the_mean_of_its_tokens_and_gradients_flow_through_it(kind):
    tokens = torch.randn(2, 12, 24, requires_grad=True)
    grouped = kind(24, 3)(tokens, torch.randn(2, 1, 24), 4, None, torch.rand(2, 12))
    labels = grouped.assignment.argmax(-1)
    for image in range(2):
        for k in range(4):
            members = tokens[image][labels[image] == k]
            torch.testing.assert_close(grouped.tokens[image, k], members.mean(0))
    grouped.tokens.sum().backward()
    assert (tokens.grad != 0).all()


def test_seeds_are_the_tokens_with_the_most_attention_or_random():
    tokens, cls_token = torch.randn(1, 12, 24), torch.randn(1, 1, 24)
    attention = torch.rand(1, 12)
    attention[0, [3, 7]] = 2
    seeded = KMeans(24, 3)(tokens, cls_token, 2, None, attention)
    assert sorted(seeded.seeds[0].tolist()) == [3, 7]
    chance = KMeans(24, 3, seeding="random")
    drawn = {tuple(chance(tokens, cls_token, 2).seeds[0].tolist()) for _ in range(20)}
    assert len(drawn) > 5
    chance.eval()
    fixed = {tuple(chance(tokens, cls_token, 2).seeds[0].tolist()) for _ in range(5)}
    assert len(fixed) == 1


@torch.no_grad()
@pytest.mark.parametrize("exported", [False, True])
def test_of_tokens_with_equal_attention_the_first_are_seeds(exported, monkeypatch):
    monkeypatch.setattr(token_pooling, "exporting", lambda: exported)
    attention = torch.randint(3, (8, 40), generator=torch.Generator().manual_seed(0)).float()
    tokens = torch.randn(8, 40, 24)
    grouped = KMeans(24, 3)(tokens, torch.randn(8, 1, 24), 9, None, attention)
    for scores, seeds in zip(attention.tolist(), grouped.seeds.tolist(), strict=True):
        assert seeds == sorted(range(40), key=lambda place: (-scores[place], place))[:9]


def test_attention_maps_are_those_the_block_uses():
    block = Block(24, 3, qkv_bias=True).eval()
    tokens = torch.randn(2, 7, 24)
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[0, 4:] = True
    mask = torch.nn.functional.pad(~padding, (1, 0), value=True)[:, None, None]
    maps = attention_map(block, tokens, mask)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 3, 7))
    values = block.attn.qkv(block.norm1(tokens)).view(2, 7, 3, 3, 8)[:, :, 2]
    mixed = torch.einsum("bhts,bshc->bthc", maps, values).flatten(2)
    torch.testing.assert_close(
        block.attn.proj(mixed), block.attn(block.norm1(tokens), attn_mask=mask)
    )
    received = attention_received(block, tokens, padding)
    assert (received[0, 4:] == 0).all()
    by_hand = sum(maps[0, h, 1 + i, 1 + 2] for h in range(3) for i in range(4))
    torch.testing.assert_close(received[0, 2], by_hand)
