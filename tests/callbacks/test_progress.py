"""The progress bar."""

from types import SimpleNamespace

import pytest

from cast_exp.callbacks import ProgressBar


@pytest.mark.parametrize(("epochs", "shown"), [(-1, "Epoch 3"), (7, "Epoch 3/6")])
def test_a_run_of_steps_has_no_last_epoch(epochs: int, shown: str) -> None:
    bar = ProgressBar()
    bar._trainer = SimpleNamespace(max_epochs=epochs)
    assert bar._get_train_description(3).strip() == shown
