import logging
import math
from pathlib import Path

import pytest
import torch
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks import ExceptionCheckpoint, NanGuard, NonFiniteLoss


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_stopped_run_is_saved_and_can_be_resumed(tmp_path: Path, error: BaseException) -> None:
    trainer = tiny_trainer(tmp_path, ExceptionCheckpoint(tmp_path))
    ends = SystemExit if isinstance(error, KeyboardInterrupt) else RuntimeError
    with pytest.raises(ends):
        trainer.fit(TinyTask(error=error, at_step=4), datamodule=tiny_data())
    path = tmp_path / "exception.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == 4

    kept = path.rename(tmp_path / "kept.ckpt")
    path.write_bytes(kept.read_bytes())
    trainer = tiny_trainer(tmp_path, ExceptionCheckpoint(tmp_path))
    trainer.fit(TinyTask(), datamodule=tiny_data())
    assert trainer.global_step == 6  # not resumed, as it was not asked to
    assert not path.exists()

    trainer = tiny_trainer(tmp_path, ExceptionCheckpoint(tmp_path), max_epochs=2)
    trainer.fit(TinyTask(), datamodule=tiny_data(), ckpt_path=kept)
    assert trainer.current_epoch == 2
    assert trainer.global_step == 11  # the batch in progress is not repeated


def test_nothing_is_saved_before_the_first_step_nor_of_spoilt_weights(tmp_path: Path) -> None:
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


def test_a_failure_to_save_does_not_hide_the_exception(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    trainer = tiny_trainer(tmp_path, ExceptionCheckpoint(in_the_way / "folder"))
    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError, match="the real one"):
        trainer.fit(TinyTask(error=RuntimeError("the real one"), at_step=2), datamodule=tiny_data())
    assert "could not be saved" in caplog.text
