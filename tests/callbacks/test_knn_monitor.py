import logging
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from support.tiny_run import Blots, TinyTask, expected_score, tiny_data, tiny_trainer

from cast_exp.callbacks import KNNMonitor
from cast_exp.errors import UserError
from cast_exp.loggers import MetricsFile


def rows(folder: Path, column: str) -> dict[int, float]:
    header, *lines = (folder / "metrics.csv").read_text().splitlines()
    names = header.split(",")
    cells = (dict(zip(names, line.split(","), strict=True)) for line in lines)
    return {int(row["step"]): float(row[column]) for row in cells if row[column]}


def test_scores_the_untrained_and_the_trained_network(tmp_path: Path) -> None:
    torch.manual_seed(1)
    task = TinyTask()
    before = expected_score(task, 30, None, 3)
    monitor = KNNMonitor(every_n_epochs=2, memory=30, queries=None, neighbours=3, batch_size=7)
    trainer = tiny_trainer(tmp_path, monitor, max_epochs=3, logger=MetricsFile(tmp_path))
    trainer.fit(task, datamodule=tiny_data())
    after = expected_score(task, 30, None, 3)

    assert monitor.untrained == pytest.approx(before)
    assert monitor.latest == pytest.approx(after)
    assert trainer.callback_metrics["val/knn"].item() == pytest.approx(after)
    assert trainer.callback_metrics["val/knn_untrained"].item() == pytest.approx(before)
    logged = rows(tmp_path, "val/knn")
    assert sorted(logged) == [0, 11, 17]  # before, after 2 epochs, at the end
    assert logged[0] == pytest.approx(before)
    assert logged[17] == pytest.approx(after)


def test_the_last_step_is_scored_wherever_it_falls(tmp_path: Path) -> None:
    monitor = KNNMonitor(every_n_epochs=10)
    trainer = tiny_trainer(tmp_path, monitor, max_epochs=5, max_steps=8)
    trainer.fit(TinyTask(), datamodule=tiny_data())
    assert "val/knn" in trainer.callback_metrics


def test_a_resumed_run_keeps_the_untrained_figure_and_the_best(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, "best", monitor="val/knn", mode="max")
    trainer = tiny_trainer(tmp_path, KNNMonitor(), best)
    trainer.fit(TinyTask(), datamodule=tiny_data())
    untrained = next(c for c in trainer.callbacks if isinstance(c, KNNMonitor)).untrained

    monitor = KNNMonitor()
    again = tiny_trainer(tmp_path, monitor, max_epochs=2)
    again.fit(TinyTask(), datamodule=tiny_data(), ckpt_path=best.best_model_path)
    assert monitor.untrained == untrained


def test_data_without_classes_are_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Blots, "classes", ())
    with pytest.raises(UserError, match=r"no classes.*leave this callback out"):
        tiny_trainer(tmp_path, KNNMonitor()).fit(TinyTask(), datamodule=tiny_data())


def test_a_failure_in_mid_run_costs_a_figure_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task, monitor = TinyTask(), KNNMonitor()
    features = task.features

    def fails_once_trained(batch):
        if task.global_step:
            raise RuntimeError("out of memory")
        return features(batch)

    monkeypatch.setattr(task, "features", fails_once_trained)
    trainer = tiny_trainer(tmp_path, monitor, max_epochs=2)
    with caplog.at_level(logging.WARNING):
        trainer.fit(task, datamodule=tiny_data())
    assert trainer.global_step == 12
    assert "kNN failed" in caplog.text
    assert monitor.latest == monitor.untrained

    task = TinyTask()
    monkeypatch.setattr(task, "features", lambda batch: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tiny_trainer(tmp_path, KNNMonitor()).fit(task, datamodule=tiny_data())
