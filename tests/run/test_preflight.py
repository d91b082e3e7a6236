"""Commands are looked at whole before Hydra gets them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cast_exp.config import key_of
from cast_exp.errors import UserError
from cast_exp.run.preflight import checked_command
from cast_exp.train import train

QUICK = ["experiment=shapes_moco", "debug=fast"]


def test_flags_go_to_hydra_as_they_were_typed() -> None:
    found = checked_command(["--cfg", "job", *QUICK, "-p", "data", "seed=3"], "train", train)
    assert found[:4] == ["--cfg", "job", "-p", "data"]
    assert [*QUICK, "seed=3"] == [
        word for word in found if key_of(word) in ("seed", "experiment", "debug")
    ]
    version = ["--version", "nonsense"]
    assert checked_command(version, "train", train) == version


def test_a_wrong_folder_of_configs_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--config-dir .*none is not a folder"):
        checked_command(["--config-dir", str(tmp_path / "none"), *QUICK], "train", train)


def test_a_root_config_may_be_the_users(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("defaults: [train, _self_]\nname: mine\n")
    command = [f"--config-dir={tmp_path}", "--config-name", "mine", *QUICK]
    assert checked_command(command, "train", train)[:2] == command[:2]
    with pytest.raises(UserError, match="Cannot find primary config 'nope'"):
        checked_command(["--config-name", "nope", *QUICK], "train", train)


@pytest.mark.slow
def test_keys_are_completed(tmp_path: Path) -> None:
    line = "train experiment=shapes_moco superpixel.cou"
    done = subprocess.run(
        [sys.executable, "-m", "cast_exp.train", "-sc", "query=bash"],
        env=os.environ | {"COMP_LINE": line, "COMP_POINT": str(len(line))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "superpixel.count=" in done.stdout, done.stderr
