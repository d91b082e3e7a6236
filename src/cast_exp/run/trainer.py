"""A Lightning trainer for devices that exist, and a fit that ends as a run should."""

import atexit
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from hydra.errors import InstantiationException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from cast_exp.data.base import available_cores
from cast_exp.errors import UserError
from cast_exp.run.build import build
from cast_exp.run.folder import rank

READ_BY_EVALUATIONS = (
    *("accelerator", "devices", "num_nodes", "strategy", "plugins"),
    *("precision", "benchmark", "deterministic"),
)
"""What evaluations read of the config of a trainer."""

_GRACE = 1.0  # seconds that processes have to end by themselves


def build_trainer(
    node: Mapping[str, Any], callbacks: Sequence[Callback], loggers: Mapping[str, Any]
) -> Trainer:
    """Build a trainer with its loggers.

    Args:
        node: Config of the trainer.
        callbacks: What runs beside it; see `build_callbacks`.
        loggers: Configs by name; None leaves one out.

    Raises:
        UserError: Devices that do not exist, or another choice that Lightning cannot follow.
    """
    _check_devices(node)
    parts = {
        "callbacks": list(callbacks),
        "logger": [build(part) for part in loggers.values() if part is not None],
    }
    try:
        trainer: Trainer = build(node, **parts)
    except InstantiationException as error:
        raise UserError(f"trainer: {error.__cause__}") from error
    return trainer


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
    """Train, from a checkpoint if there is one, and leave no process behind on any path.

    Raises:
        KeyboardInterrupt: On Ctrl-C, of which Lightning makes a normal exit.
        UserError: What is asked for cannot be done, such as going on beyond the last epoch.
    """
    try:
        trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
    except BaseException as error:
        # Not before the error has been reported: Lightning kills a process that outlives another.
        atexit.register(_end_processes, trainer)
        if isinstance(error, SystemExit) and not isinstance(error, SIGTERMException):
            raise KeyboardInterrupt from None
        if isinstance(error, MisconfigurationException):
            raise UserError(f"trainer: {error}") from error
        raise


def leave_others() -> bool:
    """End what joins the processes of a run; whether this is the one that goes on alone."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return rank() == 0


def _end_processes(trainer: Trainer) -> None:
    """End the other processes of the run, which may wait for this one for ever."""
    for process in getattr(trainer.strategy.launcher, "procs", []):
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()


def _check_devices(node: Mapping[str, Any]) -> None:
    devices, accelerator = node["devices"], node["accelerator"]
    wanted = _wanted(devices)
    if node["strategy"] == "auto" and len(wanted) != 1:
        raise UserError(
            f"trainer.devices={devices}: strategy=single has one device; for more choose "
            "strategy=ddp (GPUs) or strategy=ddp_cpu"
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
