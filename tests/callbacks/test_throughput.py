from pathlib import Path

import pytest
import torch
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


@pytest.mark.parametrize(("loading", "told"), [(1 / 8, 0), (1 / 2, 1)])
def test_a_run_that_mostly_waits_for_data_is_told_once(
    loading: float, told: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    clock = Clock(monkeypatch)
    clock.slow(monkeypatch, Blots, "__getitem__", loading)
    clock.slow(monkeypatch, TinyTask, "training_step", 3.0)
    trainer = tiny_trainer(tmp_path, Throughput(every_n_steps=2), max_epochs=2)
    trainer.fit(TinyTask(), datamodule=tiny_data())
    assert caplog.text.count("training waits for data 57 % of the time") == told
    assert caplog.text.count("waits for data") == told


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


def test_operations_against_those_counted_by_hand(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def peak(device: torch.device, precision: str) -> float:
        asked.append((device.type, precision))
        return 5e-5

    monkeypatch.setattr("cast_exp.callbacks.throughput.peak_tflops", peak)
    throughput = Throughput(every_n_steps=3, warmup_steps=0)
    trainer = tiny_trainer(tmp_path, throughput, logger=MetricsFile(tmp_path))
    trainer.fit(TinyTask(), datamodule=tiny_data())
    assert asked == [("cpu", "32-true")]
    dim, cells, first, second = 8, 16, 6, 2
    macs = dim * (3 * 4 * 4) * cells + dim * dim * (cells + first)  # stem, stages
    macs += dim * first * cells + dim * second * first  # scores of the groupings
    macs += dim * first * cells + dim * second * first  # sums over them
    # 2 images in a second, each as much work as TinyTask.forward_passes of one view.
    wanted = 2 * 6 * 2 * macs / 1e12
    header, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    for name, value in (("model_tflops", wanted), ("mfu", wanted / 5e-5)):
        assert trainer.callback_metrics[f"throughput/{name}"] == pytest.approx(value)
        column = header.split(",").index(f"throughput/{name}")
        logged = [float(cells[column]) for row in rows if (cells := row.split(","))[column]]
        assert logged == pytest.approx([value] * 2)
    assert "throughput/peak_memory_gib" not in trainer.callback_metrics  # not a GPU


def test_processes_with_unequal_gpus_average_the_figures_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cast_exp.callbacks.throughput.peak_tflops", lambda *_: None)
    trainer = tiny_trainer(tmp_path, Throughput())
    first = ["throughput/images_per_second", "throughput/mfu"]
    monkeypatch.setattr(trainer.strategy, "broadcast", lambda names: first)
    trainer.fit(TinyTask(), datamodule=tiny_data())
    logged = {name for name in trainer.callback_metrics if name.startswith("throughput/")}
    assert logged == set(first)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_memory_of_a_gpu(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, Throughput(), accelerator="cuda", devices=1)
    trainer.fit(TinyTask(), datamodule=tiny_data())
    used = trainer.callback_metrics["throughput/peak_memory_gib"].item()
    assert 0 < used <= torch.cuda.max_memory_allocated() / 2**30
