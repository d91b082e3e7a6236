"""Trainers for devices that exist, and fits that end as a run should."""

import inspect
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback
from lightning.pytorch.accelerators import CPUAccelerator, MPSAccelerator
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.strategies.launchers import subprocess_script
from support.probe_run import images

from cast_exp.callbacks import NanGuard
from cast_exp.checkpoints.checkpoint_io import CheckpointIO
from cast_exp.distributed.signals import Stopped
from cast_exp.errors import UserError
from cast_exp.run.trainer import attach, build_trainer, evaluation_trainers, fit


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"precision": "bf16-true"},
            "trainer.precision=bf16-true: evaluations run in one of 32-true",
        ),
        ({"devices": 2}, "strategy=single has one device"),
        ({"accelerator": "cpu", "devices": 4096, "strategy": "ddp"}, "this machine has"),
    ],
)
def test_trainers_that_evaluations_cannot_have(changes: dict[str, Any], complaint: str) -> None:
    node = {"_target_": "lightning.pytorch.Trainer", "accelerator": "auto", "devices": 1}
    with pytest.raises(UserError, match=complaint):
        evaluation_trainers(node | {"strategy": "auto", "precision": "32-true"} | changes)


def test_apples_gpu_is_not_chosen_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    trainer = build_trainer(NODE | {"accelerator": "auto"}, (), {})
    assert isinstance(trainer.accelerator, CPUAccelerator)


@pytest.mark.parametrize("own", [[], [NanGuard(seed=3)]])
def test_processes_stop_together_whatever_the_callbacks(own: list[Callback]) -> None:
    trainer = build_trainer(NODE, own, {})
    (guard,) = (callback for callback in trainer.callbacks if isinstance(callback, NanGuard))
    assert guard.checks == bool(own)


def test_what_is_of_training_is_not_read() -> None:
    node = {"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "devices": 1}
    more = {"strategy": "auto", "precision": "bf16-mixed", "max_epochs": 7, "fast_dev_run": True}
    trainer = evaluation_trainers(node | more)()
    assert (trainer.precision, trainer.max_epochs, trainer.fast_dev_run) == (
        "bf16-mixed",
        None,
        False,
    )
    assert not trainer.loggers
    assert not trainer.checkpoint_callbacks


NODE = {
    "_target_": "lightning.pytorch.Trainer",
    "accelerator": "cpu",
    "devices": 1,
    "strategy": "auto",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}


def test_a_trainer_has_its_callbacks_and_the_loggers_that_are_wanted(tmp_path: Path) -> None:
    callback = Callback()
    csv = {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": str(tmp_path)}
    trainer = build_trainer(NODE, [callback], {"csv": csv, "wandb": None})
    assert callback in trainer.callbacks
    assert [type(logger).__name__ for logger in trainer.loggers] == ["CSVLogger"]


def test_checkpoints_are_written_our_way_unless_the_user_has_another() -> None:
    lightnings = {"_target_": f"{__name__}.Theirs"}
    ours, sync = CheckpointIO, {"_target_": "cast_exp.distributed.SyncBatchNormPlugin"}
    strategy = {"_target_": "lightning.pytorch.strategies.SingleDeviceStrategy"}
    for changes, kind in (
        ({}, ours),
        ({"plugins": [sync]}, ours),
        ({"plugins": [sync, lightnings]}, Theirs),
        ({"strategy": strategy | {"checkpoint_io": lightnings}}, Theirs),
    ):
        assert type(build_trainer(NODE | changes, [], {}).strategy.checkpoint_io) is kind


class Theirs(TorchCheckpointIO):
    """A plug-in of the user's."""


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"precision": "7-mixed"}, "trainer: "),
        ({"devices": [0, 1]}, "strategy=single has one device"),
        ({"devices": "0,4095", "strategy": "ddp"}, r"devices=0,4095: this machine has \d+ cores"),
    ],
)
def test_choices_that_lightning_cannot_follow(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build_trainer(NODE | changes, [], {})


def test_a_task_knows_trainer_and_data_before_it_fits() -> None:
    class Sized(BoringModel):
        def configure_model(self) -> None:
            self.classes = self.trainer.datamodule.num_classes

    trainer, task, data = build_trainer(NODE, [], {}), Sized(), images()
    attach(trainer, task, data)
    assert task.classes == 3
    assert data.trainer is trainer


@pytest.mark.parametrize(
    ("raised", "seen", "told"),
    [
        (Stopped(signal.SIGTERM), Stopped, "SIGTERM"),
        (MisconfigurationException("too late"), UserError, "trainer: too late"),
        (ZeroDivisionError("boom"), ZeroDivisionError, "boom"),
    ],
)
def test_a_fit_ends_as_it_should(
    raised: BaseException, seen: type[BaseException], told: str | None
) -> None:
    class Fails(BoringModel):
        def on_train_start(self) -> None:
            raise raised

    with pytest.raises(seen, match=told):
        fit(build_trainer(NODE | {"max_epochs": 1}, [], {}), Fails(), BoringDataModule(), None)


def test_lightning_leaves_signals_and_lost_processes_alone() -> None:
    seen: list[Any] = []

    class Looks(BoringModel):
        def on_train_batch_end(self, *_: Any) -> None:
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    trainer = build_trainer(NODE | {"max_epochs": 1, "limit_train_batches": 1}, [], {})
    fit(trainer, Looks(), BoringDataModule(), None)
    assert seen == [before]
    # What is replaced is there, under these names, and called.
    assert "self._broadcast_sigterm_tensor()" in inspect.getsource(_TrainingEpochLoop.advance)
    launch = inspect.getsource(subprocess_script._SubprocessScriptLauncher.launch)
    assert "_launch_process_observer(self.procs)" in launch


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_a_run_on_one_device_has_one_process(
    launcher: str, rank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {
        "torchrun": {"TORCHELASTIC_RUN_ID": "any", "RANK": rank, "WORLD_SIZE": "2"},
        "srun": {"SLURM_NTASKS": "2", "SLURM_PROCID": rank},
    }
    for name, value in variables[launcher].items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{launcher} has started several processes"):
        build_trainer(NODE, [], {})
