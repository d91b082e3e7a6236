"""What a command line comes to: messages, exit codes, and processes that are told their run."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn
from support.cli import restored

from cast_exp.distributed.signals import STOPS
from cast_exp.errors import UserError
from cast_exp.run import app
from cast_exp.run.app import launch, run_app
from cast_exp.run.folder import RUN, read_summary, write_summary
from cast_exp.run.sweep import SweepSummary
from cast_exp.train import train


def ended(task: object, *arguments: str) -> int:
    with restored():
        sys.argv = ["train", *arguments]
        with pytest.raises(SystemExit) as end:
            run_app(task, "train")
        return int(end.value.code or 0)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_mistyped_command_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(lambda **_: {}, "experiment=shapes_mocco") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "did you mean shapes_moco" in captured.err
    assert "Traceback" not in captured.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "code"), [(None, 0), (UserError("mend it"), 2), (OSError("disk"), 1)]
)
def test_a_process_that_is_told_its_folder_reads_the_config_there(
    error: Exception | None, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / RUN).write_text("seed: 3\nnode: {twice: '${seed}'}\n")
    monkeypatch.setenv("CAST_EXP_RUN_FOLDER", str(tmp_path))
    seen = []

    def task(**config: object) -> dict[str, float]:
        seen.append(config)
        if error:
            raise error
        return {"done": 1.0}

    assert ended(task, "these=are", "not=read") == code
    assert seen == [{"seed": 3, "node": {"twice": "${seed}"}}]  # resolved before it was saved
    assert read_summary(tmp_path)["status"] == ("failed" if code else "finished")


def test_a_rank_that_was_left_behind_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / RUN).write_text("seed: 3\n")
    monkeypatch.setenv("CAST_EXP_RUN_FOLDER", str(tmp_path))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ended(lambda **_: {"done": 1.0}) == 0
    assert read_summary(tmp_path)["status"] == "finished"
    assert (tmp_path / "run.log").is_file()
    assert "warning: ignored LOCAL_RANK=1" in capsys.readouterr().err


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_ends_a_process_with_its_code(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / RUN).write_text("seed: 3\n")
    monkeypatch.setenv("CAST_EXP_RUN_FOLDER", str(tmp_path))

    def task(**_: object) -> dict[str, float]:
        os.kill(os.getpid(), number)
        time.sleep(60)
        return {}

    process = multiprocessing.get_context("fork").Process(target=run_app, args=(task, "train"))
    process.start()
    process.join(30)
    assert process.exitcode == 128 + number
    assert read_summary(tmp_path) == {"status": "interrupted", "error": number.name}


@pytest.mark.parametrize("target", ["multirun", "job"])
def test_a_signal_to_a_multirun_or_its_job_ends_both(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job gets it from the multirun; the multirun sees the code of the job."""
    job = "import os, pathlib, signal, sys, time\n"
    job += "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
    job += "pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    command = [sys.executable, "-c", job]
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, env: real(command, env=env))

    def run() -> None:
        sys.argv = ["train", "-m", "experiment=shapes_moco", "seed=0,1"]
        run_app(train, "train")

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first = int((tmp_path / "pid").read_text())
    os.kill(first if target == "job" else process.pid or 0, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 143
    assert int((tmp_path / "pid").read_text()) == first  # no other job was started
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


@pytest.mark.parametrize("used", [False, True])
def test_a_run_that_is_refused_at_once_leaves_no_folder(used: bool, tmp_path: Path) -> None:
    def task(*, paths: dict[str, str], **_: object) -> dict[str, float]:
        if used:
            Path(paths["run"], "metrics.csv").touch()
        raise UserError("no such data")

    runs = tmp_path / "runs"
    assert ended(task, "experiment=shapes_moco", "debug=fast", f"paths.runs={runs}") == 2
    assert len(list(runs.glob("debug/*/config.yaml"))) == used
    assert (runs / "debug").exists() == used


def test_the_command_of_a_killed_multirun_goes_on_with_it_and_tells_the_sweeper_of_each_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []
    told: list[object] = []

    def job(_: str, folder: Path) -> int:
        ran.append(folder.name)
        if len(ran) == 2:
            raise KeyboardInterrupt
        write_summary(folder, "finished", metrics={"train/loss": len(ran) / 10})
        return 0

    def listen(_: object, config: object, job_return: JobReturn, **__: object) -> None:
        told.append(job_return.return_value)

    monkeypatch.setattr(app, "_run_apart", job)
    monkeypatch.setattr(SweepSummary, "on_job_end", listen)
    command = ["-m", "experiment=shapes_moco", "debug=fast", "seed=0,1", "objective=train/loss"]
    with pytest.raises(KeyboardInterrupt):
        launch(train, "train", command)
    (sweep,) = tmp_path.glob("runs/debug/sweep-*")
    capsys.readouterr()
    launch(train, "train", command)
    assert f"going on with {sweep}; resume=null" in capsys.readouterr().err
    assert ran == ["0_seed-0", "1_seed-1", "1_seed-1"]
    assert told == [0.1, 0.1, 0.3]
    assert read_summary(sweep)["status"] == "finished"
    write_summary(sweep, "running")
    launch(train, "train", [*command, "resume=null"])
    assert ran[3:] == ["0_seed-0", "1_seed-1"]


def test_a_multirun_whose_runs_lack_the_objective_ends_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran: list[str] = []

    def job(_: str, folder: Path) -> int:
        ran.append(folder.name)
        write_summary(folder, "finished", metrics={"train/loss": 1.0})
        return 0

    monkeypatch.setattr(app, "_run_apart", job)
    command = ["-m", "experiment=shapes_moco", "debug=fast", "seed=0,1", "objective=train/los"]
    with pytest.raises(UserError, match="did you mean train/loss"):
        launch(train, "train", command)
    assert ran == ["0_seed-0"]
    (sweep,) = tmp_path.glob("runs/debug/sweep-*")
    assert read_summary(sweep)["status"] == "failed"
    assert "Error executing" not in "".join(capsys.readouterr())
