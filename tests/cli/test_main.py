"""`cast-exp NAME`, and the names that commands had before."""

import json
import runpy
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from support.run_folders import run_folder

from cast_exp.cli import COMMANDS, main
from cast_exp.errors import UserError

CLI = Path(sys.modules["cast_exp.cli"].__file__).parent
FORMER = {
    "cast_exp.data.check": "check",
    "cast_exp.models.cost": "cost",
    "cast_exp.models.zoo": "zoo",
    "cast_exp.superpixels.compare": "compare",
}


def test_every_file_is_a_command() -> None:
    files = {path.stem for path in CLI.glob("[a-z]*.py")}
    assert sorted(COMMANDS) == sorted(files - {"parsers"})


def test_it_is_what_is_installed() -> None:
    (script,) = entry_points(group="console_scripts", name="cast-exp")
    assert script.load() is main


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_all(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert f"cast-exp {name}" in shown
    assert "`" not in shown


def test_help_and_what_reads_runs_do_not_wait_for_torch(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", metrics={"val/knn": 0.5})
    commands = [
        ["runs", "list", "--runs", str(tmp_path)],
        ["runs", "show", str(tmp_path / "run")],
        ["report", str(tmp_path), "--out", str(tmp_path / "report.html")],
    ]
    commands += [[name, "--help"] for name in COMMANDS]
    code = """if True:
        import json, sys
        from cast_exp.cli import main

        for command in json.loads(sys.argv[1]):
            try:
                end = main(command)
            except SystemExit as help:
                end = help.code
            assert not end and "torch" not in sys.modules, command
    """
    done = subprocess.run([sys.executable, "-c", code, json.dumps(commands)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chek"], "there is no command 'chek'; did you mean check"),
        (["train"], "train is a module of its own: python -m cast_exp.train"),
        (["cost", "--models", "vit_huge"], "unknown model 'vit_huge'"),
        (["zoo", "convert", "nothing", "--out", "there"], "no checkpoint at nothing"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {message}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("error", [UserError("wrong"), KeyboardInterrupt()])
def test_how_a_command_ends(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_: object) -> int:
        raise error

    monkeypatch.setattr("cast_exp.cli.zoo.main", stopped)
    assert main(["zoo", "list"]) == (2 if isinstance(error, UserError) else 130)


@pytest.mark.parametrize("module", FORMER)
def test_former_names_still_run(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    monkeypatch.delitem(sys.modules, module, raising=False)  # as `python -m` finds it
    with pytest.raises(SystemExit) as end:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert not end.value.code
    assert f"cast-exp {FORMER[module]}" in capsys.readouterr().out
