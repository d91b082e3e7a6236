"""Trainers for devices that exist, and fits that end as a run should."""

from typing import Any

import pytest

from cast_exp.errors import UserError
from cast_exp.run import evaluation_trainers


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"precision": "bf16-true"},
            "trainer.precision=bf16-true: evaluations run in one of 32-true",
        ),
        ({"devices": 2}, "strategy=single has one device"),
        ({"accelerator": "cpu", "devices": 4096, "strategy": "ddp"}, "this machine has"),
    ],
)
def test_trainers_that_evaluations_cannot_have(changes: dict[str, Any], complaint: str) -> None:
    node = {"_target_": "lightning.pytorch.Trainer", "accelerator": "auto", "devices": 1}
    with pytest.raises(UserError, match=complaint):
        evaluation_trainers(node | {"strategy": "auto", "precision": "32-true"} | changes)


def test_what_is_of_training_is_not_read() -> None:
    node = {"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "devices": 1}
    more = {"strategy": "auto", "precision": "bf16-mixed", "max_epochs": 7, "fast_dev_run": True}
    trainer = evaluation_trainers(node | more)()
    assert (trainer.precision, trainer.max_epochs, trainer.fast_dev_run) == (
        "bf16-mixed",
        None,
        False,
    )
    assert not trainer.loggers
    assert not trainer.checkpoint_callbacks
