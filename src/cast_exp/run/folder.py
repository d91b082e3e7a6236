"""The folder of a run: its name, what it keeps, who may write to it.

runs/NAME/STAMP/                        a run
runs/NAME/sweep-STAMP/0_KEY-VALUE_.../  a job of a multirun
runs/NAME/search-STAMP/0_KEY-VALUE_.../ a trial of `cast-exp sweep`
runs/NAME/STAMP/eval/EXPERIMENT-STAMP/  an evaluation of that run
runs/eval/EXPERIMENT/STAMP/             an evaluation of other weights
  config.yaml                           the config, resolved; what every process of the run reads
  summary.json                          how it stands: status, error, final metrics
  checkpoints/                          what it can be resumed from
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal
from zlib import crc32

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from cast_exp.errors import UserError
from cast_exp.output.files import PARTIAL, write_json
from cast_exp.output.rounding import rounded_overrides

with suppress(ModuleNotFoundError):  # Windows has none: nothing is locked there
    import fcntl

Status = Literal["running", "finished", "failed", "interrupted"]

# The file that tells a folder's kind.
RUN, SWEEP, SEARCH = "config.yaml", "multirun.yaml", "search.json"
RUN_FOLDER = "CAST_EXP_RUN_FOLDER"  # the variable that tells other processes of a run its folder
_RANK = {"torchrun": "RANK", "Lightning": "LOCAL_RANK", "srun": "SLURM_PROCID"}
_PROCESSES = {"torchrun": "WORLD_SIZE", "Lightning": "WORLD_SIZE", "srun": "SLURM_NTASKS"}
_FROM_THE_START = {".hydra", ".lock", RUN, "run.log", "summary.json"}
_LONGEST = 120  # characters of a job's folder; file systems allow 255 bytes


@cache
def run_folder(runs: str, name: str, resume: str | None) -> str:
    """Absolute folder of a single run: a new one, or the one to be resumed.

    All calls with the same arguments in one process agree, and so do all processes that torchrun
    or srun started together.

    Args:
        runs: Folder of all runs.
        name: Name of the run, a folder in it.
        resume: None for a new run; "auto" for the newest unfinished run of that name, a new one if
            there is none; a run's folder; or a checkpoint file, from which a new run begins.

    Raises:
        UserError: `resume` is neither.
    """
    return _agreed(lambda: _folder(resume, RUN, Path(str(runs), str(name)), saved=True))


@cache
def sweep_folder(runs: str, name: str, resume: str | None) -> str:
    """Absolute folder of a multirun; arguments and errors as for `run_folder`."""
    return _folder(resume, SWEEP, Path(str(runs), str(name)), "sweep-")


@cache
def evaluation_folder(
    runs: str, name: str, resume: str | None, run: str | None, checkpoint: str | None
) -> str:
    """Absolute folder of an evaluation: a new one, or the one to be resumed.

    That of a run's weights is inside the folder of the run, if this may write there.

    Args:
        runs: Folder of all runs.
        name: Name of the evaluation.
        resume: As for `run_folder`; a checkpoint file is none here.
        run: Folder of the run that is evaluated, or None.
        checkpoint: What is evaluated, or None.

    Raises:
        UserError: `resume` is neither.
    """
    own = run_of(run or checkpoint)
    if resume and resume != "auto" and Path(resume).expanduser().is_file():
        raise UserError(f"resume={resume}: give the folder of an evaluation, or auto")
    if own and os.access(own, os.W_OK):
        return _agreed(lambda: _folder(resume, RUN, own / "eval", f"{name}-"))
    return _agreed(lambda: _folder(resume, RUN, Path(str(runs), "eval", str(name))))


def run_of(weights: str | None) -> Path | None:
    """The folder of the run that weights are of: its folder, or a checkpoint in it; else None."""
    if weights is None:
        return None
    path = Path(weights).expanduser().resolve()
    candidates = (path, path.parent.parent)
    return next((p for p in candidates if (p / RUN).is_file() and checkpoints(p)), None)


def job_folder(number: int, overrides: str) -> str:
    """Name of a job's folder in that of its multirun, such as "3_pooling-graph_seed-0".

    Neither a shell nor Hydra's overrides need quotes around it. Long numbers are rounded.
    """
    short = rounded_overrides(overrides).replace(",", "_")
    tame = re.sub(r"[^a-zA-Z0-9_.+-]+", "-", short)
    return f"{number}_{tame}"[:_LONGEST].rstrip("_-")


def sweep_name() -> str | None:
    """Name of the folder of the multirun or search this is part of, to group its jobs, or None."""
    hydra = HydraConfig.get()
    parent = Path(hydra.runtime.output_dir).parent.name
    searched = parent if parent.startswith("search-") else None
    return Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else searched


def rank() -> int:
    """Number of this process among those of the run, 0 for the one that writes files."""
    launcher = launched_by()
    if launcher is None and RUN_FOLDER in os.environ:
        launcher = "Lightning"  # which takes WORLD_SIZE away when training ends
    return int(os.environ.get(_RANK[launcher], 0)) if launcher else 0


def processes() -> int:
    """How many processes have been started together for the run, this one among them."""
    launcher = launched_by()
    return int(os.environ.get(_PROCESSES[launcher], 1)) if launcher else 1


def launched_by() -> Literal["torchrun", "Lightning", "srun"] | None:
    """What has started this process together with others; None if it is on its own."""
    env = os.environ
    if {"TORCHELASTIC_RUN_ID", "RANK"} <= env.keys():
        return "torchrun"
    if {RUN_FOLDER, "WORLD_SIZE", "LOCAL_RANK"} <= env.keys():
        return "Lightning"
    if int(env.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in env:
        return "srun"
    return None


def forget_stale_ranks() -> None:
    """Remove from the environment what no launcher of this process can have put there.

    Lightning would believe it: the run would wait for others, or have no first process and leave
    half of its files out.
    """
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    stale = [name for name in names if name in os.environ]
    if launched_by() in ("torchrun", "Lightning") or not stale:
        return
    from lightning.pytorch.utilities import rank_zero_only

    told = " ".join(f"{name}={os.environ.pop(name)}" for name in stale)
    rank_zero_only.rank = rank()  # type: ignore[attr-defined]
    print(f"warning: ignored {told}: set in the environment, but not by torchrun", file=sys.stderr)


def requeued() -> bool:
    """Whether this is a SLURM job that has been started again, with the same number as before."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first."""
    found = (folder / "checkpoints").glob("*.ckpt")
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def read_summary(folder: Path) -> dict[str, Any]:
    """Content of `summary.json`; empty if there is none."""
    try:
        content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError):
        return {}
    return content


def write_summary(folder: Path, status: Status, **content: Any) -> None:
    """Replace `summary.json`, so that a reader finds the old one or the new."""
    write_json(folder / "summary.json", {"status": status, **content})


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder for as long as this process is at work in it.

    Raises:
        UserError: Another process is.
    """
    with open(folder / ".lock", "a") as file:
        # A lock of the process: gone when it is killed, and not shared with the loader's workers.
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder} is in use by a run that is still going; wait for it or stop it"
            ) from None
        except (NameError, OSError):  # a system or a file system without locks
            pass
        yield


def idle(folder: Path) -> bool:
    """Whether no process is at work in the folder of a run or multirun, as far as can be told."""
    try:
        with sole_writer(folder):
            return True
    except (UserError, OSError):
        return False


def require_folder(path: Path, what: str) -> None:
    """See that there is a folder.

    Args:
        path: Of it.
        what: What it should be, such as "the folder of a run".

    Raises:
        UserError: It is a file, or does not exist.
    """
    if not path.is_dir():
        wrong = f"is a file, not {what}" if path.exists() else f"does not exist; give {what}"
        raise UserError(f"{path} {wrong}")


def remove_partials(folder: Path) -> None:
    """Remove what killed processes have left of files; for the sole writer of a folder.

    The folders of other runs inside, such as evaluations, are left alone.
    """
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not Path(place, name, RUN).exists()]
        for name in filter(PARTIAL.fullmatch, names):
            Path(place, name).unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove the folder of a new run that was refused, unless it has made something already."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= _FROM_THE_START:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # other runs are in it
            folder.parent.rmdir()


def _folder(
    resume: str | None, kind: str, parent: Path, prefix: str = "", saved: bool = False
) -> str:
    """The folder to be resumed, or a new one.

    Args:
        resume: See `run_folder`.
        kind: Name of the file that tells the folder's kind, `RUN` or `SWEEP`.
        parent: Where new ones go, and where "auto" looks.
        prefix: Of their names.
        saved: Whether "auto" is to find a checkpoint in it.
    """
    parent = parent.expanduser()
    if resume == "auto":
        found = (f for f in unfinished(parent, kind, prefix) if checkpoints(f) or not saved)
        newest = next(found, None)
        return str(newest.resolve()) if newest else new_folder(parent, prefix)
    if resume is None:
        return new_folder(parent, prefix)
    path = Path(resume).expanduser().resolve()
    if path.is_dir():
        if not (path / kind).is_file():
            raise UserError(f"resume={resume} is not the folder of a run: it has no {kind}")
        with sole_writer(path):
            return str(path)
    if not path.is_file():
        raise UserError(
            f"resume={resume} does not exist; give auto, the folder of a run, or a checkpoint"
        )
    return new_folder(parent, prefix)


def unfinished(parent: Path, kind: str, prefix: str = "") -> list[Path]:
    """The folders that could be gone on with and that nobody is at work in, newest first.

    Args:
        parent: Where they are.
        kind: Name of the file that tells their kind, `RUN` or `SWEEP`.
        prefix: Of their names.
    """
    there = (path.parent for path in parent.glob(f"{prefix}*/summary.json"))
    found = [folder for folder in there if _unfinished(folder, kind)]
    return sorted(found, key=lambda f: (f / "summary.json").stat().st_mtime_ns, reverse=True)


def _unfinished(folder: Path, kind: str) -> bool:
    """Whether there is something to go on with, and nobody does."""
    if not (folder / kind).is_file() or read_summary(folder).get("status") == "finished":
        return False
    return idle(folder)


def new_folder(parent: Path, prefix: str) -> str:
    """A new folder; that of before in a SLURM job that is started again.

    With several tasks, its name is that of the job and the step. With one, a job may run many
    commands: the folder is then found by the job and the command.
    """
    env = os.environ
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}-{token_hex(2)}"
    if launched_by() == "srun":
        stamp = f"slurm{env['SLURM_JOB_ID']}.{env.get('SLURM_STEP_ID', 0)}"
    elif "SLURM_JOB_ID" in env:
        mark = f"slurm{env['SLURM_JOB_ID']}-{crc32(' '.join(sys.argv[1:]).encode()):08x}"
        stamp = f"{stamp}-{mark}"
        before = sorted(parent.glob(f"{prefix}*-{mark}"))
        if requeued() and before:
            return str(before[-1].resolve())
    return str((parent / f"{prefix}{stamp}").resolve())


def _agreed(choose: Callable[[], str]) -> str:
    """What `choose` returns, in all processes that torchrun started what it returns in the first.

    torchrun keeps a store that lives before and outside of any process group.
    """
    if launched_by() != "torchrun":
        return choose()
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    env = os.environ
    store = TCPStore(env["MASTER_ADDR"], int(env["MASTER_PORT"]))
    key = f"cast_exp/run_folder/{env.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    if rank() == 0:
        store.set(key, choose())
    return store.get(key).decode()
