import logging
import math
from pathlib import Path

import pytest
import torch
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks import ExceptionCheckpoint, NanGuard, NonFiniteLoss


class Seeded(TinyTask):
    """Draws the same dropout at a step whatever went before, as the real tasks do."""

    def on_train_batch_start(self, batch, batch_idx) -> None:
        torch.manual_seed(100 * self.current_epoch + batch_idx)


def seeded(**options) -> TinyTask:
    torch.manual_seed(0)
    return Seeded(**options)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_stopped_run_is_saved_and_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, error: BaseException
) -> None:
    trainer = tiny_trainer(tmp_path, ExceptionCheckpoint(tmp_path), max_epochs=2)
    ends = SystemExit if isinstance(error, KeyboardInterrupt) else RuntimeError
    with pytest.raises(ends):
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
