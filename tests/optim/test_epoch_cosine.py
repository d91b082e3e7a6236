"""The rate of linear probing."""

import math

import pytest

from cast_exp.optim import EpochCosine


@pytest.mark.parametrize("total", [1, 4, 90])
def test_half_a_cosine_with_one_value_for_each_epoch(total: int) -> None:
    schedule = EpochCosine()
    for epoch in range(total):
        expected = (1 + math.cos(math.pi * epoch / total)) / 2
        for part in (0, 0.3, 0.999):
            assert schedule.factor(epoch + part, total) == pytest.approx(expected)
    assert schedule.factor(0, total) == 1
    assert schedule.factor(total - 0.01, total) > 0
