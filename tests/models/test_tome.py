"""Token merging against a plain version, and its indifference to the batch."""

import numpy as np
import pytest
import torch

from cast_exp.errors import UserError
from cast_exp.models import Pooling, Size, ToMe, create_model
from cast_exp.models.tome import merge

SIZE = Size(24, (3,), heads=3, family="tome")


def plain_merge(tokens, keys, sizes, count):
    """One image without empty tokens, one token after the other."""
    odd, even = list(range(1, len(tokens), 2)), list(range(0, len(tokens), 2))
    unit = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    best = {i: max(even, key=lambda j: unit[i] @ unit[j]) for i in odd}
    ranked = sorted(odd, key=lambda i: -unit[i] @ unit[best[i]])
    gone = ranked[: min(count, len(tokens) // 2)]
    groups = {i: [i] for i in range(len(tokens)) if i not in gone}
    for i in gone:
        groups[best[i]].append(i)
    order = [i for i in odd if i in groups] + even
    merged = [np.average(tokens[groups[i]], axis=0, weights=sizes[groups[i]]) for i in order]
    return (
        np.stack(merged),
        np.array([sizes[groups[i]].sum() for i in order]),
        [groups[i] for i in order],
    )


@pytest.mark.parametrize(("number", "count"), [(2, 1), (7, 2), (12, 5), (13, 9), (30, 4)])
def test_merging_is_that_of_a_plain_loop(number, count):
    rng = np.random.default_rng(number)
    tokens, keys = rng.normal(size=(2, 3, number, 5))
    sizes = rng.integers(1, 5, (3, number)).astype(float)
    padding = torch.zeros(3, number, dtype=torch.bool)
    merged = merge(*map(torch.from_numpy, (tokens, keys, sizes)), padding, count)
    for image in range(3):
        means, totals, groups = plain_merge(tokens[image], keys[image], sizes[image], count)
        np.testing.assert_allclose(merged[0][image], means)
        np.testing.assert_allclose(merged[1][image], totals)
        places = merged[3][image].tolist()
        assert [sorted(i for i in range(number) if places[i] == k) for k in range(len(groups))] == [
            sorted(group) for group in groups
        ]


def maps(count, side=64):
    columns = torch.arange(side) * count // side
    return columns.expand(side, -1)


@torch.no_grad()
def test_an_image_comes_out_the_same_alone_and_in_any_batch():
    torch.manual_seed(0)
    model = create_model(SIZE, image_size=64, merged=5).eval()
    images = torch.randn(3, 3, 64, 64)
    squares = (torch.arange(64)[:, None] // 8 * 8 + torch.arange(64) // 8).long()
    gaps = squares * 2  # every second label owns nothing
    few = maps(4).long()
    superpixels = torch.stack([gaps, squares, few])
    together = model(images, superpixels)
    for i in range(3):
        alone = model(images[i : i + 1], superpixels[i : i + 1])
        torch.testing.assert_close(together.cls[i], alone.cls[0], atol=1e-5, rtol=1e-5)
        for level in range(model.config.depths[0] + 1):
            a, b = together.segmentation(level)[i], alone.segmentation(level)[0]
            pairs = torch.stack([a.flatten(), b.flatten()], 1).unique(dim=0)
            assert len(pairs) == len(a.unique()) == len(b.unique())  # the same but for numbers
    assert len(together.segmentation(1)[1].unique()) == 64 - 5


def test_gradients_reach_all_that_is_used():
    model = create_model(SIZE, image_size=64, merged=5)
    superpixels = torch.stack([maps(16), maps(9)]).long()
    model(torch.randn(2, 3, 64, 64), superpixels).cls.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_levels_are_refused():
    model = create_model(SIZE, image_size=64)
    assert isinstance(model, ToMe)
    with pytest.raises(UserError, match="merged"):
        model(torch.randn(1, 3, 64, 64), maps(9)[None].long(), levels=(4,))
    with pytest.raises(UserError, match="no pooling levels"):
        create_model(SIZE, pooling=Pooling((4, 2)))
