"""Two processes that train, told to stop or killed at any time, by either launcher."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.cli import SMALL, runs

from cast_exp.run.folder import read_summary

pytestmark = pytest.mark.faults

BARE = ("callbacks.knn=null", "callbacks.best=null", "callbacks.pictures=null")
COMMAND = ("-m", "cast_exp.train", *SMALL, *BARE, "trainer.max_epochs=100000")
TWO = ("strategy=ddp_cpu", "trainer.devices=2")
LAUNCHERS = {
    "lightning": (),
    "torchrun": ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


class Run:
    """A run of two processes in a session of its own, with an epoch behind it.

    Args:
        launcher: What starts the two.
        more: Overrides.
    """

    def __init__(self, launcher: str, *more: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *LAUNCHERS[launcher], *COMMAND, *more],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + 300
        while not list(Path("runs").rglob("last.ckpt")):
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(random.uniform(0, 2))
        self.launcher = launcher

    def ranks(self) -> tuple[int, int]:
        """Processes that train, by rank."""
        started = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        found = [int(number) for number in started.split()]
        if self.launcher == "lightning":
            return self.process.pid, found[0]
        return found[0], found[1]

    def end(self, within: float) -> str:
        """What it says when it has ended, with all its processes."""
        began = time.monotonic()
        _, error = self.process.communicate(timeout=within)  # until no process has the pipe
        assert time.monotonic() - began < within
        return error


@pytest.fixture
def started() -> Iterator[list[Run]]:
    """Runs that are killed in the end, if need be."""
    found: list[Run] = []
    yield found
    for run in found:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.communicate()


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("target", ["first", "second", "both", "launcher"])
def test_a_signal_at_any_time_ends_both_processes_saved(
    launcher: str, target: str, started: list[Run]
) -> None:
    run = Run(launcher, *TWO)
    started.append(run)
    first, second = run.ranks()
    number = random.choice([signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    targets = {"first": [first], "second": [second], "both": [first, second]}
    for pid in targets.get(target, [run.process.pid]):
        os.kill(pid, number)
    error = run.end(30)
    if launcher == "lightning":
        assert run.process.returncode == 128 + number
        assert "Traceback" not in error
    (folder,) = runs()
    assert read_summary(folder) == {"status": "interrupted", "error": number.name}
    assert f"go on with resume={folder.resolve()}" in error
    assert saved(folder) > 0


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("killed", [0, 1])
def test_the_loss_of_a_process_ends_the_other_saved(
    launcher: str, killed: int, started: list[Run]
) -> None:
    run = Run(launcher, *TWO)
    started.append(run)
    os.kill(run.ranks()[killed], signal.SIGKILL)
    error = run.end(60)
    assert run.process.returncode != 0
    (folder,) = runs()
    if launcher == "lightning":
        lost = "process 1 was killed by SIGKILL" if killed else "process 0 is gone"
        assert error.count(lost) == 1
        assert "Traceback" not in error
        assert saved(folder) > 0


def test_a_slurm_job_that_is_requeued_goes_on(
    started: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    run = Run("lightning")
    started.append(run)
    run.process.send_signal(signal.SIGUSR1)
    run.end(30)
    assert run.process.returncode == 138
    (folder,) = runs()
    steps = saved(folder)
    (folder / "checkpoints" / "last.ckpt").unlink()  # to wait for another
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = Run("lightning")
    started.append(again)
    again.process.send_signal(signal.SIGTERM)
    again.end(30)
    assert runs() == [folder]
    assert saved(folder) > steps


def saved(folder: Path) -> int:
    """Steps of the state that a stopped run has left."""
    path = folder / "checkpoints" / "exception.ckpt"
    steps: int = torch.load(path, weights_only=True)["global_step"]
    return steps
