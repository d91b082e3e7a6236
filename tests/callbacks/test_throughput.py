from pathlib import Path

import pytest
from lightning.pytorch import Callback
from support.tiny_run import Blots, TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks import Throughput
from cast_exp.loggers import MetricsFile


class Clock:
    """Time that only passes where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("cast_exp.callbacks.throughput.perf_counter", lambda: self.now)

    def slow(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, seconds: float) -> None:
        original = getattr(owner, name)

        def slowed(*args):
            self.now += seconds
            return original(*args)

        monkeypatch.setattr(owner, name, slowed)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """An image loads in 1/8 s, hence a batch in 1 s; a step takes 3 s."""
    clock = Clock(monkeypatch)
    clock.slow(monkeypatch, Blots, "__getitem__", 1 / 8)
    clock.slow(monkeypatch, TinyTask, "training_step", 3.0)
    return clock


class Pause(Callback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_epoch_end(self, *_) -> None:
        self.clock.now += 100


def test_images_per_second_and_share_of_waiting(clock: Clock, tmp_path: Path) -> None:
    throughput = Throughput(every_n_steps=4, warmup_steps=0)
    trainer = tiny_trainer(
        tmp_path, throughput, Pause(clock), max_epochs=3, logger=MetricsFile(tmp_path)
    )
    trainer.fit(TinyTask(), datamodule=tiny_data())
    assert throughput.images_per_second == pytest.approx(8 / 4)
    assert throughput.data_wait == pytest.approx(1 / 4)
    assert trainer.callback_metrics["throughput/data_wait"] == pytest.approx(1 / 4)
    header, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    column = header.split(",").index("throughput/images_per_second")
    logged = [float(cells[column]) for row in rows if (cells := row.split(","))[column]]
    assert logged == pytest.approx([2.0] * 4)  # steps 4, 8, 12, 16 of 18


def test_warm_up_is_left_out_of_the_mean(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class SlowStart(Callback):
        def on_train_batch_start(self, trainer, *_) -> None:
            clock.now += 1000 if trainer.global_step < 2 else 0

    throughput = Throughput(warmup_steps=2)
    tiny_trainer(tmp_path, throughput, SlowStart()).fit(TinyTask(), datamodule=tiny_data())
    assert throughput.images_per_second == pytest.approx(2)


def test_nothing_measured_is_not_a_number() -> None:
    assert Throughput().images_per_second != Throughput().images_per_second
    assert Throughput().data_wait != Throughput().data_wait
