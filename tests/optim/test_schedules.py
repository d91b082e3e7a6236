import math

import pytest
import torch
from timm.scheduler import CosineLRScheduler
from torch import nn
from torch.optim import SGD

from cast_exp.optim import WarmupCosine, cosine_momentum


def test_warm_up_and_half_a_cosine() -> None:
    schedule = WarmupCosine(10)
    assert [schedule.factor(epoch, 100) for epoch in (0, 2.5, 5, 10)] == [0, 0.25, 0.5, 1]
    assert schedule.factor(10 + 90 / 4, 100) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert schedule.factor(55, 100) == pytest.approx(0.5)
    assert schedule.factor(100, 100) == 0


def test_start_and_end_are_shares_of_the_peak() -> None:
    schedule = WarmupCosine(5, start=1e-3, end=1e-2)
    peak = 1e-3
    rates = [peak * schedule.factor(epoch, 300) for epoch in (0, 2.5, 5, 152.5, 300)]
    assert rates == pytest.approx([1e-6, (1e-6 + 1e-3) / 2, 1e-3, (1e-3 + 1e-5) / 2, 1e-5])


def test_a_cosine_over_all_epochs_is_that_of_timm() -> None:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    theirs = CosineLRScheduler(optimizer, 300, lr_min=1e-5, warmup_t=5, warmup_lr_init=1e-6)
    ours = WarmupCosine(5, start=1e-3, end=1e-2, warmup_apart=False)
    for epoch in (0, 1, 4, 5, 6, 100, 299):
        (rate,) = theirs._get_lr(epoch)
        assert 1e-3 * ours.factor(epoch, 300) == pytest.approx(rate)


@pytest.mark.parametrize("warmup", [0, 0.5, 3])
@pytest.mark.parametrize("epochs", [1, 3, 7])
def test_rises_then_falls_within_bounds(warmup: float, epochs: int) -> None:
    schedule = WarmupCosine(warmup)
    epoch = [epochs * i / 200 for i in range(201)]
    factors = [schedule.factor(e, epochs) for e in epoch]
    assert all(0 <= factor <= 1 for factor in factors)
    for i in range(200):
        if epoch[i + 1] <= warmup:
            assert factors[i] < factors[i + 1]
        elif epoch[i] >= warmup:
            assert factors[i] > factors[i + 1]


def test_momentum_goes_to_one() -> None:
    assert cosine_momentum(0.99, 0) == pytest.approx(0.99)
    assert cosine_momentum(0.99, 0.5) == pytest.approx(0.995)
    assert cosine_momentum(0.99, 1) == 1
    assert cosine_momentum(0.9, 1 / 3) == pytest.approx(1 - 0.5 * 1.5 * 0.1)
