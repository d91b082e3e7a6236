import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

import cast_exp
from cast_exp.callbacks import RunRecord
from cast_exp.callbacks.run_record import git_state


def launches(folder: Path) -> list[dict]:
    return json.loads((folder / "run.json").read_text())


def test_a_run_is_recorded_from_start_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_start = {}

    class Peek(TinyTask):
        def on_fit_start(self) -> None:
            at_start.update(launches(tmp_path)[0])

    monkeypatch.setattr("sys.argv", ["train.py", "experiment=tiny", "seed=3"])
    tiny_trainer(tmp_path, RunRecord(seed=3)).fit(Peek(), datamodule=tiny_data())
    assert at_start["status"] == "running"
    assert at_start["seed"] == 3
    assert at_start["command"][1:] == ["train.py", "experiment=tiny", "seed=3"]
    assert at_start["packages"]["torch"] == version("torch")
    (entry,) = launches(tmp_path)
    assert entry["status"] == "finished"
    assert entry["steps"] == 6
    assert entry["wall_seconds"] > 0
    assert entry.items() >= {k: v for k, v in at_start.items() if k != "status"}.items()


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_a_run_that_stops_says_why_and_a_resumed_one_adds_to_it(
    tmp_path: Path, error: BaseException, status: str
) -> None:
    with pytest.raises((ValueError, SystemExit)):
        tiny_trainer(tmp_path, RunRecord()).fit(
            TinyTask(error=error, at_step=2), datamodule=tiny_data()
        )
    tiny_trainer(tmp_path, RunRecord()).fit(TinyTask(), datamodule=tiny_data())
    first, second = launches(tmp_path)
    assert first["status"] == status
    assert first["steps"] == 2
    assert first["error"] == f"{type(error).__name__}: {error}"
    assert second["status"] == "finished"


def test_a_record_that_cannot_be_written_does_not_hide_the_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_) -> None:
        raise OSError("No space left on device")

    record = RunRecord()
    trainer = tiny_trainer(tmp_path, record)
    task = TinyTask(error=ValueError("the real one"), at_step=2)
    task.on_train_start = lambda: monkeypatch.setattr(record, "_write", full)
    with pytest.raises(ValueError, match="the real one"):
        trainer.fit(task, datamodule=tiny_data())


def test_git_state(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert git_state(tmp_path) is None
    git("init", "-q")
    package = tmp_path / "site-packages" / "package"
    package.mkdir(parents=True)
    code = tmp_path / "code.py"
    code.write_text("1")
    git("add", "code.py")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    assert git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "notes.txt").touch()
    assert git_state(tmp_path) == {"commit": commit, "dirty": False}
    code.write_text("2")
    assert git_state(tmp_path) == {"commit": commit, "dirty": True}
    assert git_state(package) is None  # installed into a folder of some other repository


def test_git_state_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(Path(cast_exp.__file__).parent) is None
