import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks import HierarchyImages, KNNMonitor, ModelTable, Throughput
from cast_exp.callbacks.side_work import apart_from_training, spare_the_run


def weights_after(folder: Path, *callbacks) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    task = TinyTask()
    tiny_trainer(folder, *callbacks, max_epochs=2).fit(task, datamodule=tiny_data())
    return task.state_dict()


def test_training_with_and_without_callbacks_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    watched = weights_after(
        tmp_path,
        KNNMonitor(memory=None, queries=20),
        HierarchyImages(count=2, every_n_steps=2),
        ModelTable(),
        Throughput(every_n_steps=2),
    )
    alone = weights_after(tmp_path)
    assert "backbone.stem.1.running_mean" in alone
    for name, value in alone.items():
        assert torch.equal(value, watched[name]), name


def test_flags_and_random_state_come_back_even_after_a_failure(tmp_path: Path) -> None:
    trainer, task = tiny_trainer(tmp_path), TinyTask()
    task.backbone.stem.eval()  # as a frozen stem is
    state = torch.random.get_rng_state()

    def look() -> None:
        with apart_from_training(trainer, task):
            assert not task.training
            assert not torch.is_grad_enabled()
            torch.rand(3)
            raise KeyError

    with pytest.raises(KeyError):
        look()
    assert task.training
    assert task.backbone.training
    assert not task.backbone.stem.training
    assert not task.backbone.stem[1].training
    assert torch.is_grad_enabled()
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_look_has_the_precision_of_the_trainer(tmp_path: Path) -> None:
    task = TinyTask()
    with apart_from_training(tiny_trainer(tmp_path, precision="bf16-mixed"), task):
        assert task.head(torch.ones(1, 8)).dtype == torch.bfloat16


def test_a_failure_is_raised_before_the_first_step_and_reported_after_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(OSError, match="full"), spare_the_run(SimpleNamespace(global_step=0), "art"):
        raise OSError("disk full")
    with caplog.at_level(logging.WARNING), spare_the_run(SimpleNamespace(global_step=7), "art"):
        raise OSError("disk full")
    assert "step 7: art failed" in caplog.text
    assert "disk full" in caplog.text
    with pytest.raises(KeyboardInterrupt), spare_the_run(SimpleNamespace(global_step=7), "art"):
        raise KeyboardInterrupt
