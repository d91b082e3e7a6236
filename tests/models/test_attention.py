"""The attention switch: what it gives, against a step-by-step computation, and what it costs."""

import pytest
import torch
from torch.nn import functional as F

from cast_exp.errors import UserError
from cast_exp.models import Pooling, Size, create_model
from cast_exp.models.flops import FlopCount

HEADS = 4
CAST = Size(48, (2, 1, 2), heads=HEADS)
FAMILIES = {
    "cast": {"name": CAST, "pooling": Pooling((12, 6))},
    "fusion": {"name": CAST, "pooling": Pooling((12, 6, 3)), "fusion": True},
    "vit": {"name": Size(48, (3,), heads=HEADS, family="vit")},
    "tome": {"name": Size(48, (3,), heads=HEADS, family="tome"), "merged": 5},
}


def build(family):
    torch.manual_seed(0)
    model = create_model(image_size=64, **FAMILIES[family]).eval()
    torch.nn.init.normal_(model.cls_token)
    for block in blocks(model):  # attention that is far from even
        block.attn.qkv.weight.data *= 2
    return model


def blocks(model):
    return [
        module for module in model.modules() if hasattr(module, "attn") and hasattr(module, "mlp")
    ]


def batch():
    """One image of 64 superpixels, and one of 9 with numbers that own no pixel between."""
    torch.manual_seed(1)
    squares = torch.arange(64)[:, None] // 8 * 8 + torch.arange(64) // 8
    few = 2 * (torch.arange(64)[:, None] // 24 * 3 + torch.arange(64) // 24)
    return torch.randn(2, 3, 64, 64), torch.stack([squares, few])


def slow_attention(block, sequence, sizes):
    """One image, head and token after the other; a token counts as often as its size."""
    width = sequence.shape[-1] // HEADS
    hidden = block.norm1(sequence)
    query, key, _ = F.linear(hidden, block.attn.qkv.weight, block.attn.qkv.bias).chunk(3, -1)
    result = torch.zeros(len(sequence), HEADS, sequence.shape[1] - 1)
    for image in range(len(sequence)):
        for head in range(HEADS):
            part = slice(head * width, (head + 1) * width)
            scores = key[image, :, part] @ query[image, 0, part] / width**0.5
            weights = scores.double().exp() * torch.cat([torch.ones(1), sizes[image]])
            result[image, head] = (weights / weights.sum())[1:]
    return result


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [0, 1, 2, -1])
def test_it_is_that_of_the_block_and_nothing_else_changes(family, number):
    model, (images, superpixels) = build(family), batch()
    seen = []
    block = blocks(model)[number]
    hook = block.norm1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    plain = model(images, superpixels)
    hook.remove()
    looked = model(images, superpixels, attention=number)

    assert plain.attention is None
    heads, level = looked.attention.heads, looked.levels[looked.attention.level]
    valid = ~level.padding
    assert heads.shape == (2, HEADS, level.tokens.shape[1])
    sizes = valid.float()
    if family == "tome":
        labels = looked.labels(looked.attention.level)
        for image in range(2):
            own = labels[image][superpixels[image].unique()]
            sizes[image] = torch.bincount(own, minlength=sizes.shape[1]).float()
    torch.testing.assert_close(heads, slow_attention(block, seen[0], sizes), atol=1e-5, rtol=1e-4)
    assert heads.std() > 0.01
    assert (heads.movedim(1, -1)[level.padding] == 0).all()

    assert torch.equal(plain.cls, looked.cls)
    for one, other in zip(plain.levels, looked.levels, strict=True):
        assert torch.equal(one.tokens, other.tokens)
    if plain.fused is not None:
        assert torch.equal(plain.fused, looked.fused)


@torch.no_grad()
def test_empty_tokens_of_the_official_release_have_no_attention():
    model, (images, superpixels) = build("cast"), batch()
    model.mask_empty = model.tokens.mask_empty = False
    attention = model(images, superpixels, attention=0).attention
    empty = torch.ones(64, dtype=torch.bool)
    empty[superpixels[1].unique()] = False
    assert (attention.heads[1][:, empty] == 0).all()
    assert (attention.heads[1][:, ~empty] > 0).all()


def test_the_block_for_figure_and_ground():
    assert build("cast").figure_block == 2  # two, one and two blocks
    assert create_model("cast_small").figure_block == 8  # the paper's ninth
    assert build("vit").figure_block == build("tome").figure_block == 2
    one_stage = create_model(Size(48, (2,), heads=HEADS), image_size=64, pooling=Pooling((4,)))
    assert one_stage.figure_block == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_block_that_is_not_there_is_refused(family):
    model = build(family)
    count = len(blocks(model))
    for number in (count, -count - 1):
        with pytest.raises(UserError, match=f"block {number} .* {count} blocks"):
            model(*batch(), attention=number)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_costs_little_and_nothing_when_off(family):
    model, inputs = build(family), batch()
    off, none, on = (
        FlopCount(model, *inputs, **options).total
        for options in ({}, {"attention": None}, {"attention": model.figure_block})
    )
    assert off == none < on < 1.1 * off
