"""The search for neighbours is shared by all processes, and where one fails, none waits."""

import pytest
from support.feature_ranks import searched
from support.two_ranks import on_two_ranks


def test_two_processes_find_what_one_does_each_with_half_of_the_queries() -> None:
    expected, all_queries = searched()
    assert isinstance(expected, dict)
    assert 0 < expected["top1"] < 1
    assert all_queries == 41
    assert on_two_ranks(searched) == [(expected, 21), (expected, 20)]


@pytest.mark.parametrize("where", [0, 1])
def test_what_fails_on_one_process_fails_on_both(where: int) -> None:
    told = ["features are not finite"] * 2
    told[1 - where] = f"process {where}: ValueError: features are not finite"
    assert [said for said, _ in on_two_ranks(searched, where)] == told
