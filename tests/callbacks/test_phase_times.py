from pathlib import Path
from time import sleep
from typing import Any

import pytest
from support.probe_run import fit, images, probe
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks import PhaseTimes


def test_time_goes_to_the_phase_it_was_spent_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = probe(features="cached")
    slow = {"_encode": 0.15, "training_step": 0.02, "validation_step": 0.03}
    for name, seconds in slow.items():
        monkeypatch.setattr(task, name, slowed(getattr(task, name), seconds))
    trainer = fit(task, tmp_path, images(), PhaseTimes(), max_epochs=3, num_sanity_val_steps=0)
    spent = {
        name: trainer.callback_metrics[f"time/{name}"].item()
        for name in ("preparation", "training", "validation")
    }
    # Twice five batches of images; three epochs of five batches of features.
    for name, least in (("preparation", 1.5), ("training", 0.3), ("validation", 0.45)):
        assert spent[name] >= least, name


def slowed(method: Any, seconds: float) -> Any:
    def call(*args: Any) -> Any:
        sleep(seconds)
        return method(*args)

    return call


def test_a_task_without_validation_has_none(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, PhaseTimes())
    trainer.fit(TinyTask(), datamodule=tiny_data())
    assert trainer.callback_metrics["time/validation"] == 0
    assert trainer.callback_metrics["time/training"] > 0
