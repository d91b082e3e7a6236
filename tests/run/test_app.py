"""What a command line comes to: messages, exit codes, and processes that are told their run."""

import sys
from pathlib import Path

import pytest
from support.cli import restored

from cast_exp.errors import UserError
from cast_exp.run.app import run_app
from cast_exp.run.folder import RUN, read_summary


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
    assert seen == [{"seed": 3, "node": {"twice": 3}}]
    assert read_summary(tmp_path)["status"] == ("failed" if code else "finished")
