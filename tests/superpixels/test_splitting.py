"""Exactly as many superpixels as were asked for, against parts given away one by one."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from support.waits import Waits

from cast_exp.superpixels.splitting import shares, split_largest


def given_one_by_one(areas: list[int], count: int) -> list[int]:
    parts = [int(area > 0) for area in areas]
    while sum(parts) < count:
        sizes = [Fraction(area, part or 1) for area, part in zip(areas, parts, strict=True)]
        parts[sizes.index(max(sizes))] += 1
    return parts


def largest_first(areas: list[int], parts: list[int]) -> list[Fraction]:
    sizes = [Fraction(a, p) for a, p in zip(areas, parts, strict=True) if p]
    return sorted(sizes, reverse=True)


def test_shares_are_those_of_parts_given_one_by_one() -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        areas = random.integers(0, random.choice([2, 4, 40]), random.integers(1, 9)).tolist()
        areas[0] += 1
        count = int(random.integers(sum(area > 0 for area in areas), sum(areas) + 1))
        (parts,) = shares(torch.tensor([areas]), count, sum(areas)).tolist()
        assert sum(parts) == count
        assert all(0 <= part <= area for part, area in zip(parts, areas, strict=True))
        # Of equal sizes, either may be cut.
        expected = given_one_by_one(areas, count)
        assert largest_first(areas, parts) == largest_first(areas, expected)


@pytest.mark.parametrize(
    ("size", "kinds", "count"),
    [((1, 1), 1, 1), ((7, 1), 1, 7), ((12, 17), 5, 5), ((12, 17), 5, 90), ((24, 20), 40, 60)],
)
def test_strips_part_superpixels_into_equal_areas(
    size: tuple[int, int], kinds: int, count: int
) -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, kinds, (3, *size), generator=random)
    labels[1] = labels[1].div(2, rounding_mode="floor")  # some own no pixel
    with Waits() as waits:
        cut = split_largest(labels, count)
    assert not waits.found
    for before, after in zip(labels, cut, strict=True):
        areas = after.flatten().bincount(minlength=count)
        assert len(areas) == count
        assert areas.min() > 0
        owner = torch.empty(count, dtype=torch.int64).scatter_(0, after.flatten(), before.flatten())
        assert torch.equal(owner[after], before)
        assert torch.equal(owner, owner.sort().values)
        for label in before.unique():
            strips = areas[owner == label]
            assert strips.max() - strips.min() <= 1


def test_a_superpixel_is_cut_across_its_longer_side() -> None:
    labels = torch.zeros(1, 4, 8, dtype=torch.int64)
    labels[:, :, :2] = 1
    cut = split_largest(labels, 4)[0]
    assert cut.unique(dim=0).tolist() == [[3, 3, 0, 0, 1, 1, 2, 2]]
