"""A Lightning trainer for devices that exist, and a fit that ends as a run should."""

import atexit
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LambdaCallback, RichProgressBar
from lightning.pytorch.strategies.launchers import subprocess_script

from cast_exp.callbacks import NanGuard
from cast_exp.checkpoints.checkpoint_io import CheckpointIO
from cast_exp.data.base import available_cores
from cast_exp.distributed import signals
from cast_exp.errors import UserError
from cast_exp.run.build import build
from cast_exp.run.folder import launched_by, processes

READ_BY_EVALUATIONS = (
    *("accelerator", "devices", "num_nodes", "strategy", "plugins"),
    *("precision", "deterministic"),
)
"""What evaluations take from the config of a trainer."""

_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # others change the weights themselves
_GRACE = 2.0  # seconds that processes have to end by themselves


def build_trainer(
    node: Mapping[str, Any], callbacks: Sequence[Callback], loggers: Mapping[str, Any]
) -> Trainer:
    """Build a trainer with its loggers.

    Args:
        node: Config of the trainer.
        callbacks: What runs beside it; see `build_callbacks`. Without a `NanGuard`, one that checks
            nothing is added, as processes stop together by it.
        loggers: Configs by name; None leaves one out.

    Raises:
        UserError: Devices that do not exist, or another choice that Lightning cannot follow.
    """
    node = _with_device(node)
    _check_devices(node)
    built = [build(part) for part in loggers.values() if part is not None]
    # Before the others: what they make of an exception must not be interrupted.
    ending = LambdaCallback(on_exception=lambda *_: signals.end())
    guarded = any(isinstance(callback, NanGuard) for callback in callbacks)
    first = [ending] if guarded else [ending, NanGuard(checks=False)]
    return _built(node, callbacks=[*first, *callbacks], logger=built)


def evaluation_trainers(node: Mapping[str, Any]) -> Callable[..., Trainer]:
    """What makes trainers for evaluations, on the devices and in the precision of a config.

    The rest of the config is of training. Nothing is logged or saved by such a trainer unless its
    options say so.

    Args:
        node: Config of a trainer.

    Returns:
        Called with further options of a `Trainer`, for a new one each time.

    Raises:
        UserError: Devices that do not exist, or a precision that is not for evaluations.
    """
    node = _with_device(node)
    _check_devices(node)
    if node["precision"] not in _PRECISIONS:
        raise UserError(
            f"trainer.precision={node['precision']}: evaluations run in one of "
            f"{', '.join(_PRECISIONS)}; choose precision=fp32, bf16 or fp16"
        )
    read = {key: node[key] for key in READ_BY_EVALUATIONS if key in node}

    def make(**options: Any) -> Trainer:
        quiet = {
            "logger": False,
            "benchmark": False,  # images may have any size
            "enable_checkpointing": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
            "inference_mode": False,  # modules may keep tensors for later training
        }
        bar = {} if "callbacks" in options else {"callbacks": [RichProgressBar()]}
        return _built({"_target_": node["_target_"]} | read, **(quiet | bar | options))

    return make


def _with_device(node: Mapping[str, Any]) -> dict[str, Any]:
    """Config of a trainer in which `auto` is a CUDA GPU or the CPU.

    Lightning would take Apple's GPU too, for which nothing here is tested.
    """
    auto = "gpu" if torch.cuda.is_available() else "cpu"
    return {**node, "accelerator": auto if node["accelerator"] == "auto" else node["accelerator"]}


def start_processes(trainer: Trainer) -> None:
    """Start the other processes of a trainer, unless they are there, and join them."""
    if trainer.strategy.launcher is not None:
        trainer.strategy.launcher.launch(lambda: None)
    trainer.strategy.setup_environment()


def attach(trainer: Trainer, task: LightningModule, data: LightningDataModule) -> None:
    """Introduce a trainer, a task and its data, and let the task build what depends on the data.

    Lightning would do so when it begins to fit, but then it is too late to compare the task with a
    checkpoint.
    """
    task.trainer = trainer
    data.trainer = trainer
    trainer.datamodule = data  # type: ignore[attr-defined]
    task.configure_model()


def fit(
    trainer: Trainer, task: LightningModule, data: LightningDataModule, checkpoint: Path | None
) -> None:
    """Train, from a checkpoint if there is one, and end as `ending_well` says.

    Raises:
        Stopped: By a signal.
        UserError: What is asked for cannot be done, such as going on beyond the last epoch.
    """
    with ending_well(trainer):
        trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)


@contextmanager
def ending_well(trainer: Trainer) -> Iterator[None]:
    """Leave no process behind that a trainer has started, on any path.

    Raises:
        UserError: Lightning says that what is asked for cannot be done.
    """
    try:
        yield
    except BaseException as error:
        atexit.register(_end_processes, trainer)  # not before the error has been reported
        if isinstance(error, MisconfigurationException):
            raise UserError(f"trainer: {error}") from error
        raise


def _end_processes(trainer: Trainer) -> None:
    """End the other processes of the run, which may wait for this one for ever."""
    # One that is killed leaves the workers of its loader behind, so that comes last.
    for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
        deadline = time.monotonic() + _GRACE
        for process in getattr(trainer.strategy.launcher, "procs", []):
            try:
                process.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                end(process)


def _built(node: Mapping[str, Any], **parts: Any) -> Trainer:
    try:
        trainer: Trainer = build(node, **parts)
    except InstantiationException as error:
        raise UserError(f"trainer: {error.__cause__}") from error
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # none of the user's own
        trainer.strategy.checkpoint_io = CheckpointIO()
    _ours_alone(trainer)
    return trainer


def _ours_alone(trainer: Trainer) -> None:
    """Leave signals and lost processes to `cast_exp.distributed.signals`.

    Lightning's handler of SIGTERM broadcasts, which deadlocks unless all processes get there, and
    that of SLURM's notice requeues the job; at each step it broadcasts whether a signal has come,
    for which the host waits; five seconds after a process has ended badly it kills all others.
    """
    connector: Any = trainer._signal_connector
    connector.register_signal_handlers = lambda: None
    epoch: Any = trainer.fit_loop.epoch_loop
    epoch._broadcast_sigterm_tensor = lambda: None
    launchers: Any = subprocess_script
    launchers._launch_process_observer = signals.watch_processes


def _check_devices(node: Mapping[str, Any]) -> None:
    devices, accelerator = node["devices"], node["accelerator"]
    wanted = _wanted(devices)
    if node["strategy"] == "auto" and len(wanted) != 1:
        raise UserError(
            f"trainer.devices={devices}: strategy=single has one device; for more choose "
            "strategy=ddp (GPUs) or strategy=ddp_cpu"
        )
    if node["strategy"] == "auto" and processes() > 1:
        raise UserError(
            f"{launched_by()} has started several processes of this run, but strategy=single is "
            "for one; choose strategy=ddp (GPUs) or strategy=ddp_cpu, with trainer.devices=N"
        )
    if accelerator == "cpu":  # two processes are for trying things out anywhere
        there, kind = max(available_cores(), 2), "core"
    elif accelerator in ("gpu", "cuda"):
        there, kind = torch.cuda.device_count(), "GPU"
    else:
        return
    if max(wanted) >= there:
        raise UserError(
            f"trainer.devices={devices}: this machine has {there or 'no'} {kind}"
            f"{'' if there == 1 else 's'}; "
            + ("set trainer.devices to what it has" if there else "choose strategy=single")
        )


def _wanted(devices: Any) -> list[int]:
    """The numbers of the devices that `trainer.devices` asks for; at least the first."""
    if isinstance(devices, str) and "," in devices:
        return [int(number) for number in devices.split(",") if number.strip().isdigit()] or [0]
    if isinstance(devices, list):
        return [int(number) for number in devices] or [0]
    return list(range(int(devices))) if str(devices).isdigit() and int(devices) else [0]
