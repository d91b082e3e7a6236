import math
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from support import stops
from support.tiny_run import TinyTask, tiny_data, tiny_trainer
from support.two_ranks import on_two_ranks

from cast_exp.callbacks import NanGuard, NonFiniteLoss
from cast_exp.distributed import signals


def read(path: Path) -> dict:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("at_step", [0, 3, 5])
def test_stops_and_saves_the_batch_and_seed(tmp_path: Path, bad: float, at_step: int) -> None:
    task = TinyTask(bad_loss=bad, at_step=at_step)
    trainer = tiny_trainer(tmp_path, NanGuard(seed=7))
    with pytest.raises(NonFiniteLoss, match=f"after step {at_step + 1} the loss is not finite"):
        trainer.fit(task, datamodule=tiny_data())
    assert trainer.global_step <= at_step + 2  # one step later at most

    (path,) = (tmp_path / "nan").iterdir()
    found = read(path)
    names = [found[key] for key in ("step", "epoch", "batch_idx", "rank", "seed")]
    assert names == [at_step + 1, 0, at_step, 0, 7]
    assert not found["loss"].isfinite()
    data = tiny_data()
    expected = data.prepare(list(data.train_dataloader())[at_step], "cpu")
    assert torch.equal(found["batch"]["index"], expected["index"])
    assert torch.equal(found["batch"]["images"][1], expected["images"][1])


def test_without_checks_it_only_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = tiny_trainer(tmp_path, NanGuard(checks=False))
    monkeypatch.setattr(signals, "received", lambda: 15 * (trainer.global_step == 5))
    with pytest.raises(signals.Stopped, match="SIGTERM"):
        trainer.fit(TinyTask(bad_loss=math.nan, at_step=1), datamodule=tiny_data())
    assert trainer.global_step == 6
    assert not (tmp_path / "nan").exists()


def test_a_sound_run_is_left_alone(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, NanGuard()).fit(TinyTask(), datamodule=tiny_data())
    assert not (tmp_path / "nan").exists()


def test_no_checkpoint_holds_spoilt_weights(tmp_path: Path) -> None:
    every_step = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = tiny_trainer(tmp_path, every_step, NanGuard())
    with pytest.raises(NonFiniteLoss):
        trainer.fit(TinyTask(bad_loss=math.nan, at_step=3), datamodule=tiny_data())
    saved = sorted(tmp_path.glob("*.ckpt"))
    assert [path.name for path in saved] == ["step=1.ckpt", "step=2.ckpt", "step=3.ckpt"]
    for path in saved:
        assert all(weight.isfinite().all() for weight in read(path)["state_dict"].values())


def test_weights_that_blow_up_under_a_finite_loss_are_not_saved(tmp_path: Path) -> None:
    class BlowUp(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_) -> None:
            if trainer.global_step == 4:
                torch.nn.init.constant_(pl_module.head.weight, math.inf)

    last = ModelCheckpoint(tmp_path, "last", every_n_train_steps=2)
    trainer = tiny_trainer(tmp_path, BlowUp(), last, NanGuard())
    with pytest.raises(NonFiniteLoss, match="some weights are not finite"):
        trainer.fit(TinyTask(), datamodule=tiny_data())
    assert read(tmp_path / "last.ckpt")["global_step"] == 2
    assert (tmp_path / "nan" / "step0000004_rank0.pt").is_file()


@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize(("accumulated", "steps", "batches"), [(1, 4, 4), (3, 3, 9)])
def test_all_processes_stop_at_the_step_after_a_signal_to_one(
    where: int, accumulated: int, steps: int, batches: int, tmp_path: Path
) -> None:
    """At the end of an optimiser step, of however many batches."""
    found = on_two_ranks(stops.stopped_at, tmp_path, where, 2, accumulated)
    assert found == [(15, steps, batches)] * 2


def test_a_signal_during_the_last_step_of_an_epoch_stops_before_the_epoch_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = tiny_trainer(tmp_path, NanGuard(), max_epochs=2)
    monkeypatch.setattr(signals, "received", lambda: 15 * (trainer.global_step == 6))
    with pytest.raises(signals.Stopped, match="SIGTERM"):
        trainer.fit(TinyTask(), datamodule=tiny_data())
    assert (trainer.global_step, trainer.current_epoch) == (6, 0)
