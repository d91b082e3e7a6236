"""One process of a run: its exit code, its summary and its log."""

import errno
import logging
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from support.cli import restored

from cast_exp.distributed import signals
from cast_exp.distributed.signals import Stopped
from cast_exp.errors import UserError
from cast_exp.run.folder import read_summary, run_folder, sole_writer, write_summary
from cast_exp.run.job import run_job


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    with restored():
        yield


def failing(error: BaseException) -> Callable[..., dict[str, float]]:
    def task(**_: object) -> dict[str, float]:
        raise error

    return task


def test_a_run_that_ends_well(tmp_path: Path) -> None:
    def task(seed: int, data: dict[str, int]) -> dict[str, float]:
        assert read_summary(tmp_path)["status"] == "running"
        logging.getLogger("any").info("I am at it")
        return {"sum": seed + data["count"]}

    assert run_job(task, {"seed": 3, "data": {"count": 4}}, tmp_path) == 0
    summary = read_summary(tmp_path)
    assert summary["status"] == "finished"
    assert summary["metrics"] == {"sum": 7}
    assert summary["seconds"] >= 0
    assert "I am at it" in (tmp_path / "run.log").read_text()


@pytest.mark.parametrize(
    ("error", "code", "status", "told"),
    [
        (UserError("mend it"), 2, "failed", "mend it"),
        (ZeroDivisionError("boom"), 1, "failed", "ZeroDivisionError: boom"),
        (Stopped(signal.SIGINT), 128 + signal.SIGINT, "interrupted", "SIGINT"),
        (Stopped(signal.SIGTERM), 128 + signal.SIGTERM, "interrupted", "SIGTERM"),
        (
            RuntimeError("[gloo/pair.cc:534] Connection closed by peer [127.0.0.1]:1"),
            1,
            "failed",
            "another process of the run is gone, see what its launcher says",
        ),
    ],
)
def test_a_run_that_does_not_end_well(
    error: BaseException, code: int, status: str, told: str, tmp_path: Path
) -> None:
    assert run_job(failing(error), {}, tmp_path) == code
    assert read_summary(tmp_path) == {"status": status, "error": told}
    log = (tmp_path / "run.log").read_text()
    assert ("Traceback" in log) == ("boom" in told)
    assert (f"resume={tmp_path}" in log) == (status == "interrupted" or "another process" in told)


@pytest.mark.parametrize(
    "error", [Stopped(signal.SIGTERM), RuntimeError("Connection reset by peer")]
)
def test_the_advice_is_of_what_has_been_saved(error: BaseException, tmp_path: Path) -> None:
    config = {"resume_changes": "refuse"}  # a training
    run_job(failing(error), config, tmp_path)
    log = tmp_path / "run.log"
    assert "nothing has been saved yet: the same command begins anew" in log.read_text()
    assert "resume=" not in log.read_text()

    def trained(**_: object) -> dict[str, float]:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "last.ckpt").touch()
        raise error

    run_job(trained, config, tmp_path)
    assert f"go on with resume={tmp_path}" in log.read_text()
    (tmp_path / "multirun.yaml").touch()  # whose other jobs may have ended
    (tmp_path / "job").mkdir()
    run_job(failing(error), config, tmp_path / "job")
    assert f"go on with resume={tmp_path}\n" in (tmp_path / "job" / "run.log").read_text()


@pytest.mark.parametrize("error", [UserError("the disk is full"), Stopped(signal.SIGINT)])
def test_an_end_that_cannot_be_recorded_can_be_gone_on_from(
    error: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def task() -> dict[str, float]:
        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "no space")

        monkeypatch.setattr("os.fsync", full)
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "last.ckpt").touch()
        (tmp_path / "config.yaml").touch()
        raise error

    code = run_job(task, {}, tmp_path)
    assert code == (2 if isinstance(error, UserError) else 128 + signal.SIGINT)
    told = capsys.readouterr().err
    assert "could not be recorded: " in told
    assert "summary.json cannot be written: no space left" in told
    assert "Traceback" not in told
    assert read_summary(tmp_path)["status"] == "running"  # as of a run that was killed
    assert sorted(path.name for path in tmp_path.glob("*s*")) == ["checkpoints", "summary.json"]
    parent = tmp_path.parent
    run_folder.cache_clear()
    assert run_folder(str(parent.parent), parent.name, "auto") == str(tmp_path)


def test_a_log_that_cannot_be_written_says_so_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(logging.FileHandler, "flush", full)
    assert run_job(failing(UserError("the disk is full")), {}, tmp_path) == 2
    assert "error: the disk is full" in (told := capsys.readouterr().err)
    assert "Logging error" not in told
    assert "Traceback" not in told


def test_what_a_kill_has_left_is_removed_but_not_from_other_runs(tmp_path: Path) -> None:
    evaluation = tmp_path / "eval" / "knn"
    for folder in (tmp_path, tmp_path / "checkpoints", evaluation, evaluation / "memory"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (".last.ckpt.0123456789abcdef", ".lock", "last.ckpt", ".a.deadbeef"):
            (folder / name).touch()
    (evaluation / "config.yaml").touch()
    assert run_job(failing(UserError("")), {}, tmp_path) == 2
    left = {path.parent for path in tmp_path.rglob(".*.0123456789abcdef")}
    assert left == {evaluation, evaluation / "memory"}
    assert len([*tmp_path.rglob("last.ckpt"), *tmp_path.rglob(".lock")]) == 8
    assert len([*tmp_path.rglob(".a.deadbeef")]) == 4


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")


def test_an_error_after_a_signal_is_of_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has gone before."""
    monkeypatch.setattr(signals, "received", lambda: signal.SIGTERM)
    assert run_job(failing(RuntimeError("Connection closed by peer")), {}, tmp_path) == 143
    assert read_summary(tmp_path) == {"status": "interrupted", "error": "SIGTERM"}


def test_a_lost_process_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "lost", lambda: "process 1 was killed by SIGKILL")
    assert run_job(failing(RuntimeError("Connection closed by peer")), {}, tmp_path) == 1
    assert read_summary(tmp_path)["error"] == "process 1 was killed by SIGKILL"
    assert "Traceback" not in (tmp_path / "run.log").read_text()


def test_a_stopped_job_of_a_multirun_says_how_to_resume_that(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").touch()
    job = tmp_path / "0_seed=0"
    job.mkdir()
    assert run_job(failing(Stopped(signal.SIGTERM)), {}, job) == 143
    assert f"go on with resume={tmp_path}\n" in (job / "run.log").read_text()


@pytest.mark.parametrize(("code", "status"), [(143, "interrupted"), (1, "failed")])
def test_an_end_that_the_main_thread_cannot_record_is_recorded(
    code: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[Callable[[str, int], None]] = []
    monkeypatch.setattr(signals, "report_to", reports.append)

    def task(**_: object) -> dict[str, float]:
        reports[0]("nobody answers", code)
        assert read_summary(tmp_path) == {"status": status, "error": "nobody answers"}
        return {}

    run_job(task, {}, tmp_path)
    assert "nobody answers; go on" in (tmp_path / "run.log").read_text()


@pytest.mark.usefixtures("second")
def test_another_process_leaves_the_word_to_the_first(tmp_path: Path) -> None:
    write_summary(tmp_path, "failed", error="of the first")
    assert run_job(failing(ZeroDivisionError()), {}, tmp_path) == 0
    assert run_job(failing(Stopped(signal.SIGTERM)), {}, tmp_path) == 143
    assert read_summary(tmp_path)["error"] == "of the first"
    assert not (tmp_path / "run.log").exists()


@pytest.mark.usefixtures("second")
def test_an_error_of_another_process_alone_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", map(float, count()).__next__)  # nobody waits
    monkeypatch.setattr("time.sleep", lambda _: None)
    write_summary(tmp_path, "running")
    assert run_job(failing(UserError("only here")), {}, tmp_path) == 2
    assert read_summary(tmp_path) == {"status": "failed", "error": "only here"}


def test_two_runs_cannot_be_at_work_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise BlockingIOError

    monkeypatch.setattr("fcntl.lockf", locked)
    with pytest.raises(UserError, match="in use by a run that is still going"):
        run_job(dict, {}, tmp_path)
    with pytest.raises(UserError, match="in use"), sole_writer(tmp_path):
        pass


def test_a_full_disk_is_told_in_one_line_whoever_finds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def task(**_: object) -> dict[str, float]:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the event file is lost") from error

    assert run_job(task, {}, tmp_path) == 2
    told = capsys.readouterr().err
    assert f"error: {tmp_path} cannot be written: no space left on device" in told
    assert "Traceback" not in told
