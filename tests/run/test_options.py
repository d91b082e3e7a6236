import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

from cast_exp.run.options import add_config_dir, add_plugins, plain


def test_both_may_be_left_out() -> None:
    parser = ArgumentParser()
    add_config_dir(parser)
    add_plugins(parser)
    assert vars(parser.parse_args([])) == {"config_dir": None, "plugins": None}
    given = parser.parse_args(["--config-dir", "conf", "--plugins", "a,b"])
    assert (given.config_dir, given.plugins) == (Path("conf"), "a,b")


def test_a_terminal_shows_no_marks_of_code() -> None:
    assert plain("`list` and ``best``\n") == "list and best\n"
    assert plain(None) == ""


def test_help_need_not_wait_for_what_a_run_imports() -> None:
    code = "import sys, cast_exp.run.options; sys.exit('hydra' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
