"""What ran, where, from which code, and how it ended: `<run>/run.json`."""

import json
import logging
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

import cast_exp
from cast_exp.errors import UserError
from cast_exp.output.files import write_json

log = logging.getLogger(__name__)


class RunRecord(Callback):
    """Writes `<run>/run.json`: a list with an entry for each launch, the resumed ones included.

    An entry has the command, seed, versions, hardware and git commit from the start on; its
    "status" is "running", then "finished", "interrupted" or "failed" (with the error), with the
    wall time in seconds and the steps taken. An entry that stays "running" was killed. Neither host
    nor user names are recorded.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._launches: list[dict[str, Any]] = []
        self._began = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the entry of this launch."""
        self._began = monotonic()
        if trainer.is_global_zero:
            path = _path(trainer)
            self._launches = json.loads(path.read_text()) if path.is_file() else []
            entry = {"status": "running", "stage": stage, "started": _now(), "seed": self.seed}
            self._launches.append(entry | environment(trainer))
            self._write(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Record how the run ended."""
        interrupted = not isinstance(exception, Exception)
        self._close(
            trainer,
            "interrupted" if interrupted else "failed",
            error=f"{type(exception).__name__}: {exception}",
        )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Record that the run ended well."""
        self._close(trainer, "finished")

    def _close(self, trainer: Trainer, status: str, **more: str) -> None:
        if not self._launches:
            return
        try:
            self._launches[-1] |= {
                "status": status,
                "ended": _now(),
                "wall_seconds": round(monotonic() - self._began, 3),
                "steps": trainer.global_step,
                **more,
            }
            self._write(trainer)
        except Exception as failure:  # must hide neither the model nor what is being recorded
            told = isinstance(failure, UserError)
            log.error("run.json could not be written: %s", failure, exc_info=not told)

    def _write(self, trainer: Trainer) -> None:
        write_json(_path(trainer), self._launches)


def environment(trainer: Trainer) -> dict[str, Any]:
    """Command, code, versions and hardware of this process, ready for JSON."""
    return {
        "command": [sys.executable, *sys.argv],
        "git": git_state(Path(cast_exp.__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "strategy": type(trainer.strategy).__name__,
        "processes": trainer.world_size,
        "precision": trainer.precision,
        "packages": dict(sorted((d.metadata["Name"], d.version) for d in distributions())),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository that tracks `folder`, and whether it has uncommitted changes.

    None when no repository tracks it (an installed wheel) or there is no git.
    """
    try:
        tracked = _git(folder, "ls-files", "--", ".")
        if not tracked:
            return None
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(changes)}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _path(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / "run.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
