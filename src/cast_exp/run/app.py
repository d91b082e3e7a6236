"""From a command line to runs and an exit code; shared by the entry points.

A command is composed, checked as a whole and only then run: a mistake in the last job of a
multirun shows before the first one starts, and a mistyped command leaves no folder behind. Other
processes of a run (those of the other devices, and the one that each job of a multirun gets for
itself) are told the folder and read the config that was saved there.

Exit codes: 0 all went well, 1 an unexpected error (with its trace), 2 something the user has to
mend (a mistake, a full disk), 128 + N stopped by signal N: 130 with Ctrl-C, 143 terminated; see
`cast_exp.distributed.signals`. A multirun goes on after a failed job and ends with the highest
code; a signal to a job stops it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from cast_exp.config import conf_dir
from cast_exp.distributed import signals
from cast_exp.errors import UserError
from cast_exp.output.console import tolerant_output
from cast_exp.output.files import write_text
from cast_exp.run.folder import (
    RUN,
    RUN_FOLDER,
    discard,
    evaluation_folder,
    forget_stale_ranks,
    launched_by,
    rank,
    read_summary,
    requeued,
    run_folder,
    sweep_folder,
    write_summary,
)
from cast_exp.run.job import Task, run_job
from cast_exp.run.objective import outcome
from cast_exp.run.preflight import checked_command
from cast_exp.run.tree import VERSION_BASE


class _NoObjective(BaseException):
    """Ends a multirun at its first job without an objective; Hydra keeps errors until its last."""

    def __init__(self, error: UserError) -> None:
        self.error = error


def run_app(task: Task, config_name: str) -> None:
    """Run a task as the command line says, then exit.

    Args:
        task: Called with the nodes of the config as keyword arguments; its signature is the schema
            of the config. Returns the final metrics.
        config_name: Name of the root config, which is that of the entry point's module too.
    """
    forget_stale_ranks()
    launcher, child = launched_by(), rank() > 0
    parent = os.getppid() if launcher == "torchrun" or (launcher == "Lightning" and child) else None
    try:
        with (
            tolerant_output(),
            signals.watched(not child, parent, notify_parent=launcher == "Lightning"),
        ):
            sys.exit(_run_app(task, config_name))
    except UserError as error:
        if not child:
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except signals.Stopped as stop:
        sys.exit(128 + stop.signal)


def _run_app(task: Task, config_name: str) -> int:
    if folder := os.environ.get(RUN_FOLDER):
        saved = OmegaConf.to_container(OmegaConf.load(Path(folder, RUN)))  # resolved before
        return run_job(task, cast(dict[str, Any], saved), Path(folder))
    ended = launch(task, config_name, sys.argv[1:])
    return max((code for _, code in ended), default=0)


def launch(
    task: Task, config_name: str, arguments: Sequence[str], apart: bool = False
) -> list[tuple[Path, int]]:
    """Check a command and run it; see `run_app` for what is not listed.

    Args:
        arguments: Of the command line.
        apart: Whether a single run gets a process of its own too, as jobs of a multirun do.

    Returns:
        Folder and exit code of each job, but for those that were finished before.

    Raises:
        UserError: All mistakes of the command at once.
        Stopped: A signal has stopped a job of a multirun, or this process.
    """
    for folder_of in (run_folder, sweep_folder, evaluation_folder):
        folder_of.cache_clear()  # of an earlier command of the same process
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints and exits by itself
    command = checked_command(arguments, config_name, task)
    if rank() != 0:
        command.append("hydra.output_subdir=null")  # the first process writes these files
    ended = []

    def job(config: DictConfig) -> float | None:
        """Run it; what a sweeper of Hydra's is told of it."""
        settings = HydraConfig.get()
        folder = Path(settings.runtime.output_dir)
        multirun = settings.mode == RunMode.MULTIRUN
        if not (multirun or requeued()) or read_summary(folder).get("status") != "finished":
            run(config, folder, multirun)  # else before the sweep or SLURM job was started again
        if rank() > 0:
            return None
        try:
            return outcome(config.get("objective"), folder)
        except UserError as error:
            if multirun:
                write_summary(Path(settings.sweep.dir), "failed", error=str(error))
            raise _NoObjective(error) from error

    def run(config: DictConfig, folder: Path, multirun: bool) -> None:
        new = not (folder / RUN).exists()
        if rank() == 0:
            write_text(folder / RUN, OmegaConf.to_yaml(config, resolve=True))
        if multirun or apart:
            code = _run_apart(f"cast_exp.{config_name}", folder)
            ended.append((folder, code))
            if code - 128 in signals.STOPS:
                raise signals.Stopped(code - 128)
        else:
            os.environ[RUN_FOLDER] = str(folder)  # tells the other processes
            try:
                code = run_job(task, _plain(config), folder)
            finally:
                del os.environ[RUN_FOLDER]
            ended.append((folder, code))
            if code == 2 and new and rank() == 0:
                discard(folder)

    program = sys.argv
    sys.argv = [program[0], *command]  # which Hydra and Lightning read
    try:
        hydra.main(str(conf_dir()), config_name, version_base=VERSION_BASE)(job)()
    except _NoObjective as end:
        raise end.error from None
    except BrokenPipeError:
        raise  # of what reads --help
    except OSError as error:  # of Hydra, which makes the folder; what jobs raise is theirs
        raise UserError(
            f"the folder of the run cannot be written ({error}); make room, or correct paths.runs"
        ) from error
    finally:
        sys.argv = program
    return ended


def _plain(config: Any) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def _run_apart(module: str, folder: Path) -> int:
    """Run a job in a process of its own, so that it leaves nothing behind and takes no other along.

    The arguments only serve to recognise it; what it does is in the folder.

    Returns:
        Its exit code. If this process is told to stop, so is the job, and has saved its state when
        this returns.
    """
    command = [sys.executable, "-m", module, *sys.argv[1:]]
    with subprocess.Popen(command, env=os.environ | {RUN_FOLDER: str(folder)}) as process:
        try:
            code = process.wait()
        except (KeyboardInterrupt, signals.Stopped) as stop:
            number = stop.signal if isinstance(stop, signals.Stopped) else signal.SIGINT
            process.send_signal(number)  # a terminal has done so already
            with signals.without_deadline():
                process.wait()
            code = 128 + number
    return code if code >= 0 else 128 - code
