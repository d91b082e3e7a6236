# ruff: noqa: NPY002  (timm draws from the global generators)
import random
from typing import Any

import numpy as np
import pytest
import torch
from timm.data import Mixup
from torch import Tensor

from cast_exp.data import Mixing
from cast_exp.data.mixing import dense
from cast_exp.errors import UserError
from cast_exp.ops import Superpixels

SIDE = 24


def batch(images: int, seed: int = 0) -> tuple[Tensor, Superpixels]:
    """Every pixel tells which image it is from: the channels are (image, row, column).

    Superpixels are squares whose labels have gaps and begin at 0 in each image.
    """
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    pixels = torch.stack(
        [torch.stack([torch.full_like(rows, i), rows, columns]) for i in range(images)]
    ).float()
    maps = [(rows // (3 + i)) * 10 + columns // (3 + i) for i in range(images)]
    return pixels, Superpixels.of(torch.stack(maps), 81)


def first_seed(mixing: Mixing, wanted: str) -> int:
    """A seed that gives a cutmix in which both images can be seen, or a mixup."""
    images, maps = batch(2)
    for seed in range(100):
        torch.manual_seed(seed)
        mixed, _, own = mixing(images, maps)
        cut = set(mixed[0, 0].unique().tolist()) <= {0.0, 1.0}
        if 0.2 < own < 0.8 and (cut == (wanted == "cutmix")):
            return seed
    raise AssertionError


@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize("seed", range(6))
def test_superpixels_come_from_where_the_pixels_come_from(size: int, seed: int) -> None:
    images, maps = batch(size)
    torch.manual_seed(seed)
    mixed, labels, own = Mixing(mixup=0, cutmix=1)(images, maps)
    for i in range(size):
        origin = mixed[i, 0].long()  # image of each pixel
        assert torch.equal(mixed[i, 1:], images[0, 1:]), "pixels do not move"
        assert set(origin.unique().tolist()) <= {i, size - 1 - i}
        truth: dict[tuple[int, int], set[int]] = {}
        for source, before, after in zip(
            origin.flatten().tolist(),
            torch.where(origin == i, maps.map[i], maps.map[size - 1 - i]).flatten().tolist(),
            labels.map[i].flatten().tolist(),
            strict=True,
        ):
            truth.setdefault((source, before), set()).add(after)
        if i == size - 1 - i:  # its own partner: only the border of the rectangle shows
            continue
        assert all(len(after) == 1 for after in truth.values()), "a superpixel was torn"
        new = [next(iter(after)) for after in truth.values()]
        assert sorted(new) == list(range(len(new))), "shared across the border, or with gaps"
        assert own == pytest.approx((origin == i).float().mean().item())


def test_an_image_with_no_room_for_more_keeps_its_own_superpixels() -> None:
    images, _ = batch(2)
    each = torch.arange(SIDE * SIDE).view(SIDE, SIDE)
    torn = torch.stack([each % 50, each % 49])  # a rectangle cuts most of them in two
    kept = set()
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, labels, own = Mixing(mixup=0, cutmix=1)(images, Superpixels.of(torn, 50))
        if own == 1:
            continue
        assert (labels.count, labels.whole) == (50 + 6 * 7, 50)  # levels stay what they were
        for i in range(2):
            origin = mixed[i, 0].long()
            seen = {
                *zip(
                    origin.flatten().tolist(),
                    torch.where(origin == i, torn[i], torn[1 - i]).flatten().tolist(),
                    strict=True,
                )
            }
            full = len(seen) > labels.count
            assert torch.equal(labels.map[i], torn[i]) == full
            kept.add(full)
    assert kept == {False, True}


def test_a_blend_keeps_the_first_images_superpixels() -> None:
    images, maps = batch(4)
    torch.manual_seed(0)
    mixed, labels, own = Mixing(mixup=0.8, cutmix=0)(images, maps)
    assert 0 < own < 1
    torch.testing.assert_close(mixed, own * images + (1 - own) * images.flip(0))
    assert labels is maps


def test_official_superpixels_stay_while_pixels_are_pasted() -> None:
    images, maps = batch(4)
    follow, stay = Mixing(mixup=0), Mixing(mixup=0, superpixels_follow=False)
    torch.manual_seed(first_seed(follow, "cutmix"))
    state = torch.get_rng_state()
    mixed, labels, _ = follow(images, maps)
    torch.set_rng_state(state)
    official, official_labels, _ = stay(images, maps)
    assert torch.equal(mixed, official)
    assert official_labels is maps
    assert not torch.equal(labels.map, maps.map)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "options", [{}, {"mixup": 0}, {"cutmix": 0}, {"probability": 0.5}, {"switch_probability": 0.1}]
)
def test_images_and_shares_are_timms(seed: int, options: dict[str, Any]) -> None:
    names = {"mixup": "mixup_alpha", "cutmix": "cutmix_alpha"}
    names |= {"probability": "prob", "switch_probability": "switch_prob"}
    settings = {"mixup": 0.8, "cutmix": 1.0} | options
    timm = Mixup(**{names[k]: v for k, v in settings.items()}, num_classes=3, label_smoothing=0)
    images, maps = batch(6)
    torch.manual_seed(seed)
    before = images.clone()
    mixed, _, own = Mixing(**settings)(images, maps)
    assert torch.equal(images, before), "the batch was changed in place"
    torch.manual_seed(seed)
    np.random.seed(int(torch.randint(2**32, ())))
    wanted, targets = timm(images.clone(), torch.tensor([0, 0, 0, 1, 1, 1]))
    torch.testing.assert_close(mixed, wanted)
    assert own == pytest.approx(targets[0, 0].item(), abs=1e-6)


def test_draws_follow_torchs_seed_and_leave_the_other_generators_alone() -> None:
    images, maps = batch(4)
    draws = []
    for seed, other in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(seed)
        np.random.seed(other)
        kept = np.random.get_state()[1].tolist(), random.getstate()
        draws.append(Mixing()(images, maps)[2])
        assert (np.random.get_state()[1].tolist(), random.getstate()) == kept
    assert draws[0] == draws[1] != draws[2]


def test_dense_labels_against_numpy() -> None:
    labels = torch.randint(0, 50, (5, 4, 3), generator=torch.Generator().manual_seed(0))
    for image, renumbered in zip(labels, dense(labels, 50), strict=True):
        wanted = np.unique(image.numpy().ravel(), return_inverse=True)[1]
        assert renumbered.flatten().tolist() == wanted.ravel().tolist()


def test_nothing_to_mix() -> None:
    with pytest.raises(UserError, match=r"task\.mixing=null"):
        Mixing(mixup=0, cutmix=0)
