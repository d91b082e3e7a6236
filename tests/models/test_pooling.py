"""Levels: what they may be, and how many segments they make."""

from functools import partial

import pytest

from cast_exp.errors import UserError
from cast_exp.models import Pooling
from cast_exp.models.grouping import GraphPool, KMeans
from cast_exp.models.pooling import check_levels, segment_count


@pytest.mark.parametrize("levels", [(), (64, 32, 16, 8), [0.5, 0.25], (1,)])
def test_levels_that_get_smaller(levels: list[float]) -> None:
    assert check_levels(levels) == tuple(levels)


@pytest.mark.parametrize(
    ("levels", "complaint"),
    [
        ((8, 8), "fewer segments than the one before"),
        ((0.2, 0.5), "fewer segments than the one before"),
        ((0.5, 8), "counts and fractions cannot be mixed"),
        ((8, 2.5), "2.5 is neither a count"),
        ((0,), "0 is neither a count"),
        ((8, -1), "-1 is neither a count"),
    ],
)
def test_other_levels(levels: tuple[float, ...], complaint: str) -> None:
    with pytest.raises(UserError, match=r"^pooling\.levels=\[.*" + complaint):
        Pooling(levels)
    with pytest.raises(UserError, match="^--levels x: .*" + complaint):
        check_levels(levels, "--levels x")


def test_a_pooling_is_made_again_from_its_description() -> None:
    pooling = Pooling((6, 3), partial(KMeans, seeding="random"))
    described = pooling.described()
    assert described == {
        "levels": (6, 3),
        "grouping": "KMeans",
        "grouping_options": {"seeding": "random"},
    }
    again = Pooling.of(*described.values()).grouping(dim=12, heads=3, mask_empty=True)
    assert isinstance(again, KMeans)
    assert Pooling().described()["grouping"] == GraphPool.__name__
    with pytest.raises(UserError, match=r"groups by .*\.Mine, but: .* no attribute"):
        Pooling.of((6,), "Mine", {})


@pytest.mark.parametrize(
    ("level", "superpixels", "tokens", "expected"),
    [(8, 50, 20, 8), (8, 50, 5, 5), (0.5, 50, 40, 25), (0.01, 50, 40, 1), (0.9, 50, 40, 40)],
)
def test_counts_are_of_the_superpixels_but_never_more_than_the_tokens(
    level: float, superpixels: int, tokens: int, expected: int
) -> None:
    assert segment_count(level, superpixels, tokens) == expected
