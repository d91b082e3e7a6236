"""One process of a run: its exit code, its summary and its log."""

import errno
import logging
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from lightning.pytorch.utilities.exceptions import SIGTERMException
from support.cli import restored

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
        (KeyboardInterrupt(), 128 + signal.SIGINT, "interrupted", "SIGINT"),
        (SIGTERMException(), 128 + signal.SIGTERM, "interrupted", "SIGTERM"),
    ],
)
def test_a_run_that_does_not(
    error: BaseException, code: int, status: str, told: str, tmp_path: Path
) -> None:
    assert run_job(failing(error), {}, tmp_path) == code
    assert read_summary(tmp_path) == {"status": status, "error": told}
    log = (tmp_path / "run.log").read_text()
    assert ("Traceback" in log) == (code == 1)
    assert (f"go on with resume={tmp_path}" in log) == (status == "interrupted")


@pytest.mark.parametrize("error", [UserError("the disk is full"), KeyboardInterrupt()])
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


def test_another_process_leaves_the_word_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    write_summary(tmp_path, "failed", error="of the first")
    assert run_job(failing(ZeroDivisionError()), {}, tmp_path) == 0
    assert run_job(failing(KeyboardInterrupt()), {}, tmp_path) == 0
    assert read_summary(tmp_path)["error"] == "of the first"
    assert not (tmp_path / "run.log").exists()


def test_an_error_of_another_process_alone_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
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
