import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

import pytest

from cast_exp.run.options import (
    add_config_dir,
    add_plugins,
    given,
    given_path,
    new_file,
    new_folder,
    plain,
)


def test_both_may_be_left_out() -> None:
    parser = ArgumentParser()
    add_config_dir(parser)
    add_plugins(parser)
    assert vars(parser.parse_args([])) == {"config_dir": None, "plugins": None}
    found = parser.parse_args(["--config-dir", "conf", "--plugins", "a,b"])
    assert (found.config_dir, found.plugins) == (Path("conf"), "a,b")


def test_a_path_that_is_empty_is_not_the_working_directory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = ArgumentParser()
    parser.add_argument("--out", type=given_path)
    parser.add_argument("names", nargs="*", type=given)
    assert vars(parser.parse_args(["a", "--out", "."])) == {"names": ["a"], "out": Path()}
    for words in (["--out", ""], ["a", ""]):
        with pytest.raises(SystemExit):
            parser.parse_args(words)
        assert "it is empty; is a variable of the shell not set?" in capsys.readouterr().err


def test_what_is_to_be_written_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for text in ("new", "new/er", ".", "..", str(tmp_path)):
        assert new_folder(text) == Path(text)
    for text in ("new", "new/er", "file", str(tmp_path / "new")):
        assert new_file(text) == Path(text)
    for kind, text in ((new_folder, "file"), (new_folder, "file/a/b"), (new_file, "file/a")):
        with pytest.raises(ArgumentTypeError, match="file is a file, not a folder"):
            kind(text)
    with pytest.raises(ArgumentTypeError, match=f"{tmp_path} is a folder, not a file"):
        new_file(str(tmp_path))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ArgumentTypeError, match=f"{tmp_path} may not be written to"):
        new_folder("new/er")


def test_a_terminal_shows_no_marks_of_code() -> None:
    assert plain("`list` and ``best``\n") == "list and best\n"
    assert plain(None) == ""


def test_help_need_not_wait_for_what_a_run_imports() -> None:
    code = "import sys, cast_exp.run.options; sys.exit('hydra' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
