"""The training command as processes of their own: kills, signals, launchers."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from support.cli import SMALL, runs

from cast_exp.run.folder import read_summary

pytestmark = pytest.mark.slow

BARE = ("callbacks.knn=null", "callbacks.best=null", "callbacks.pictures=null")
COMMAND = ("-m", "cast_exp.train", *SMALL, *BARE, "callbacks.recent.every_n_train_steps=1")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def train(*overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *COMMAND, *overrides], capture_output=True, text=True, timeout=600
    )


@contextmanager
def training(*overrides: str, step: int) -> Iterator[subprocess.Popen[str]]:
    """A run that has saved a step, in a process group of its own."""
    with subprocess.Popen(
        [sys.executable, *COMMAND, *overrides],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 300
        while not any(Path("runs").rglob(f"step{step:07d}.ckpt")):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(
        run / "checkpoints" / "last.ckpt", weights_only=True
    )["state_dict"]
    return state


def test_killed_run_goes_on_as_if_nothing_had_happened() -> None:
    long = ("trainer.max_epochs=40", "name=killed")
    with training(*long, step=10) as process:
        os.killpg(process.pid, signal.SIGKILL)
    (run,) = runs()
    assert read_summary(run)["status"] == "running"
    assert train(*long, "resume=auto").returncode == 0
    assert runs() == [run]
    assert read_summary(run)["status"] == "finished"
    with open(run / "metrics.csv", newline="") as file:
        steps = {int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]}
    # Those before the kill are still there; that of the kill may be saved but not yet logged.
    assert steps <= set(range(160))
    assert len(steps) >= 159
    assert train("trainer.max_epochs=40", "name=straight").returncode == 0
    killed, straight = (weights(runs(Path("runs", n))[0]) for n in ("killed", "straight"))
    assert all(torch.equal(killed[key], straight[key]) for key in straight)


def test_ctrl_c_saves_the_state() -> None:
    with training("trainer.max_epochs=1000", step=3) as process:
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in error
    (run,) = runs()
    assert f"go on with resume={run.resolve()}" in error
    assert read_summary(run)["status"] == "interrupted"
    assert (run / "checkpoints" / "exception.ckpt").is_file()


def test_ctrl_c_ends_a_multirun_after_the_state_is_saved() -> None:
    with training("-m", "trainer.max_epochs=1000", "seed=0,1", step=3) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in error
    (run,) = runs()
    assert (run / "checkpoints" / "exception.ckpt").is_file()


def test_multirun_with_two_processes_for_each_job() -> None:
    done = train("-m", "strategy=ddp_cpu", "trainer.max_epochs=1", "seed=0,1")
    assert done.returncode == 0, done.stderr
    (sweep,) = Path("runs/shapes_moco").iterdir()
    assert [run.name for run in runs()] == ["0_seed-0", "1_seed-1"]
    with open(sweep / "summary.csv", newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["finished", "finished"]


def test_torchrun() -> None:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    more = ("strategy=ddp_cpu", "trainer.devices=2", "trainer.max_epochs=1")
    done = subprocess.run([*launcher, *COMMAND, *more], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (run,) = runs()
    assert read_summary(run)["status"] == "finished"
    assert done.stdout.count("steps per epoch") == 1

    wrong = subprocess.run(
        [*launcher, *COMMAND, *more, "seed=x"], capture_output=True, text=True, timeout=600
    )
    assert wrong.returncode != 0
    assert wrong.stderr.count("seed=x: should be a valid integer") == 1


def test_error_of_all_processes_is_told_once() -> None:
    done = train("strategy=ddp_cpu", "trainer.max_epochs=-1", "trainer.max_steps=-1")
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1
