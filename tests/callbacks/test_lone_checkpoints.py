"""Checkpoints by the clock and of stopped runs."""

import logging
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from support import stops
from support.tiny_run import TinyTask, tiny_data, tiny_trainer
from support.two_ranks import on_two_ranks

from cast_exp.callbacks import (
    ExceptionCheckpoint,
    NanGuard,
    NonFiniteLoss,
    TimedCheckpoint,
    lone_checkpoints,
)
from cast_exp.distributed import signals
from cast_exp.distributed.signals import Stopped


class Seeded(TinyTask):
    """Draws the same dropout at a step whatever went before, as the real tasks do."""

    def on_train_batch_start(self, batch, batch_idx) -> None:
        torch.manual_seed(100 * self.current_epoch + batch_idx)


def seeded(**options) -> TinyTask:
    torch.manual_seed(0)
    return Seeded(**options)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), Stopped(signal.SIGTERM)])
def test_a_stopped_run_is_saved_and_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, error: BaseException
) -> None:
    trainer = tiny_trainer(tmp_path, ExceptionCheckpoint(tmp_path), max_epochs=2)
    with pytest.raises(type(error)):
        trainer.fit(seeded(error=error, at_step=4), datamodule=tiny_data())
    path = tmp_path / "exception.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == 4
    kept = path.rename(tmp_path / "kept.ckpt")
    path.write_bytes(kept.read_bytes())

    straight = seeded()
    trainer = tiny_trainer(tmp_path, ExceptionCheckpoint(tmp_path), max_epochs=2)
    trainer.fit(straight, datamodule=tiny_data())
    assert trainer.global_step == 12  # from the start, as it was not asked to resume
    assert not path.exists()  # it ended well

    resumed = seeded()
    tiny_trainer(tmp_path, max_epochs=2).fit(resumed, datamodule=tiny_data(), ckpt_path=kept)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


class Validated(Seeded):
    """Also says what its validations are worth."""

    def __init__(self) -> None:
        super().__init__()
        self.scores: list[tuple[int, float]] = []

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("val/mean", self.features(batch).mean(), batch_size=len(batch["index"]))

    def on_validation_epoch_end(self) -> None:
        self.scores.append((self.global_step, self.trainer.callback_metrics["val/mean"].item()))


class Stops(Callback):
    """A signal in the first epoch: at a hook of its own."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, self.stop)

    def stop(self, trainer: Trainer, *_: Any) -> None:
        if trainer.current_epoch == 0:
            raise Stopped(signal.SIGTERM)


@pytest.mark.parametrize("hook", ["on_validation_start", "on_validation_batch_end"])
def test_a_run_that_is_stopped_while_it_validates_goes_on_exactly(
    hook: str, tmp_path: Path
) -> None:
    def task() -> Validated:
        torch.manual_seed(0)
        return Validated()

    def trainer(*callbacks: Callback) -> Trainer:
        return tiny_trainer(tmp_path, *callbacks, max_epochs=2, num_sanity_val_steps=0)

    straight, stopped, resumed = task(), task(), task()
    trainer().fit(straight, tiny_data())
    stopping = trainer(Stops(hook), ExceptionCheckpoint(tmp_path))
    with pytest.raises(Stopped):
        stopping.fit(stopped, tiny_data())
    trainer().fit(resumed, tiny_data(), ckpt_path=tmp_path / "exception.ckpt")
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert len(straight.scores) == 2
    assert stopped.scores + resumed.scores == straight.scores


def test_nothing_is_saved_before_the_first_step_nor_of_spoilt_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callbacks = NanGuard(), ExceptionCheckpoint(tmp_path)
    with pytest.raises(RuntimeError):
        tiny_trainer(tmp_path, *callbacks).fit(
            TinyTask(error=RuntimeError(), at_step=0), datamodule=tiny_data()
        )
    with pytest.raises(NonFiniteLoss):
        tiny_trainer(tmp_path, *callbacks).fit(
            TinyTask(bad_loss=math.nan, at_step=2), datamodule=tiny_data()
        )
    assert not list(tmp_path.glob("*.ckpt"))
    assert "could not be saved" not in caplog.text  # nothing was tried


def test_a_failure_to_save_does_not_hide_the_exception(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    trainer = tiny_trainer(tmp_path, ExceptionCheckpoint(in_the_way / "folder"))
    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError, match="the real one"):
        trainer.fit(TinyTask(error=RuntimeError("the real one"), at_step=2), datamodule=tiny_data())
    assert "could not be saved" in caplog.text


def steps(path: Path) -> int:
    found: int = torch.load(path, weights_only=True)["global_step"]
    return found


class Kept(TimedCheckpoint):
    """Keeps what each step finds in the file."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.found: list[int] = []

    def on_train_batch_end(self, *args: Any) -> None:
        super().on_train_batch_end(*args)
        self.found.append(steps(self.path) if self.path.is_file() else 0)


@pytest.mark.parametrize(
    ("accumulated", "found"), [(1, [0, 0, 3, 3, 3, 6]), (2, [0, 0, 0, 2, 2, 3])]
)
def test_the_state_is_saved_by_the_clock(
    accumulated: int, found: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With gradients accumulated, only when a step is complete: after 2, 4 and 6 batches."""
    callback = Kept(tmp_path, 2.5)
    minutes = iter([0, 1, 2, 3, 3, 4, 5, 6, 6] if accumulated == 1 else [0, 1, 2, 3, 3, 3, 4, 6, 6])
    monkeypatch.setattr(lone_checkpoints, "monotonic", lambda: 60 * next(minutes))
    trainer = tiny_trainer(tmp_path, callback, accumulate_grad_batches=accumulated)
    trainer.fit(TinyTask(), datamodule=tiny_data())
    assert callback.found == found
    assert not callback.path.exists()  # it has ended well


@pytest.mark.parametrize("lost", [None, "process 0 is gone"])
def test_the_second_process_saves_where_the_first_is_gone(
    lost: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback, trainer = ExceptionCheckpoint(tmp_path), tiny_trainer(tmp_path)
    monkeypatch.setattr(signals, "lost", lambda: lost)
    monkeypatch.setattr(type(trainer), "global_rank", 1)
    monkeypatch.setattr(type(trainer), "is_global_zero", False)
    monkeypatch.setattr(type(trainer), "global_step", 3)
    monkeypatch.setattr(lone_checkpoints, "_save", lambda _, path: path.touch())
    for error in (Stopped(signal.SIGTERM), RuntimeError("Connection closed by peer")):
        assert not callback.path.exists()
        callback.on_exception(trainer, TinyTask(), error)
    assert callback.path.exists() == bool(lost)


def test_on_two_processes_only_the_first_looks_at_its_clock(tmp_path: Path) -> None:
    assert on_two_ranks(stops.saves_by_the_clock, tmp_path) == [6, 6]
