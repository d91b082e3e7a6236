import pytest

from cast_exp.optim import Poly

STEPS = 30_000
PEAK = 3e-3


def test_numbers_of_the_official_recipe() -> None:
    """Poly of power 0.9, in the first 100 steps below a line from a tenth of the peak."""
    schedule = Poly(0.9, warmup_steps=100, start=0.1)
    for step in (0, 1, 37, 50, 99, 100, 101, 1000, 29_999):
        wanted = PEAK * (1 - step / STEPS) ** 0.9
        if step < 100:
            wanted = min(wanted, PEAK * (0.1 * (1 - step / 100) + step / 100))
        assert PEAK * schedule.factor(step, STEPS) == pytest.approx(wanted)
    assert PEAK * schedule.factor(0, STEPS) == pytest.approx(3e-4)
    assert PEAK * schedule.factor(15_000, STEPS) == pytest.approx(1.6076e-3, rel=1e-4)
    assert schedule.factor(STEPS, STEPS) == 0


def test_without_warm_up_it_starts_at_the_peak() -> None:
    assert Poly().factor(0, 10) == 1
    assert Poly(power=1).factor(4, 10) == pytest.approx(0.6)


def test_a_run_shorter_than_its_warm_up_still_ends_at_zero() -> None:
    rates = [Poly(0.9, 100, 0.1).factor(step, 20) for step in range(21)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == 0
    assert max(rates) < 0.3


def test_segmenter_ends_at_a_rate_of_its_own() -> None:
    """(1e-3 - 1e-5) (1 - i / n)^0.9 + 1e-5, without warm-up."""
    schedule, steps = Poly(0.9, end=0.01), 161_728
    for step in (0, 1, 1000, 100_000, steps):
        wanted = (1e-3 - 1e-5) * (1 - step / steps) ** 0.9 + 1e-5
        assert 1e-3 * schedule.factor(step, steps) == pytest.approx(wanted)
