from itertools import product
from pathlib import Path

import pytest
from support.tiny_run import tiny_data, tiny_trainer

from cast_exp.errors import UserError
from cast_exp.run.plan import Plan, scaled_lr


def counted(images: int, batch: int, drop_last: bool, limit: int | float, accumulate: int) -> int:
    """Optimiser steps of an epoch, by going through it."""
    batches = [min(batch, images - start) for start in range(0, images, batch)]
    if drop_last:
        batches = [size for size in batches if size == batch]
    batches = batches[: limit if isinstance(limit, int) else int(limit * len(batches))]
    steps = 0
    for number in range(1, len(batches) + 1):
        steps += number % accumulate == 0 or number == len(batches)
    return steps


@pytest.mark.parametrize(
    ("batch", "drop_last", "limit", "accumulate"),
    product([5, 7, 8], [True, False], [1.0, 0.5, 4], [1, 3]),
)
def test_steps(
    tmp_path: Path, batch: int, drop_last: bool, limit: int | float, accumulate: int
) -> None:
    data = tiny_data(batch)
    data.drop_last = drop_last
    trainer = tiny_trainer(
        tmp_path, max_epochs=3, limit_train_batches=limit, accumulate_grad_batches=accumulate
    )
    plan = Plan.of(trainer, data, lr=0.1)
    per_epoch = counted(plan.images, batch, drop_last, limit, accumulate)
    assert plan.images == 48
    assert plan.steps_per_epoch == per_epoch
    assert plan.steps == 3 * per_epoch
    assert plan.epochs == 3
    assert plan.effective_batch_size == batch * accumulate


def test_what_the_plan_says_is_what_happens(tmp_path: Path) -> None:
    from support.tiny_run import TinyTask

    data, trainer = tiny_data(9), tiny_trainer(tmp_path, max_epochs=2, accumulate_grad_batches=2)
    plan = Plan.of(trainer, data, lr=0.1)
    trainer.fit(TinyTask(), data)
    assert trainer.global_step == plan.steps == 6


def test_max_steps_ends_a_run(tmp_path: Path) -> None:
    plan = Plan.of(tiny_trainer(tmp_path, max_epochs=5, max_steps=8), tiny_data(), lr=0.1)
    assert (plan.steps_per_epoch, plan.steps, plan.epochs) == (6, 8, 2)
    plan = Plan.of(tiny_trainer(tmp_path, max_epochs=-1, max_steps=8), tiny_data(), lr=0.1)
    assert (plan.steps, plan.epochs) == (8, 2)
    with pytest.raises(UserError, match="never end"):
        Plan.of(tiny_trainer(tmp_path, max_epochs=-1), tiny_data(), lr=0.1)


def test_learning_rate_follows_the_effective_batch() -> None:
    assert scaled_lr(1.5e-4, 256, 1, 256) == 1.5e-4
    assert scaled_lr(1.5e-4, 512, 2, 256) == pytest.approx(6e-4)
    for wrong in ((0, 1, 1, 1), (1.0, "x", 1, 1), (1.0, 1, True, 1), (1.0, 1, 1, -2)):
        with pytest.raises(UserError, match="should be a finite number above 0"):
            scaled_lr(*wrong)  # type: ignore[arg-type]
