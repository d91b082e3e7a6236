import os
from pathlib import Path

import pytest

from cast_exp.config import conf_dir, locate
from cast_exp.errors import UserError


def test_found_from_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = conf_dir()
    monkeypatch.chdir(tmp_path)
    assert conf_dir() == before
    assert conf_dir().is_absolute()
    assert (conf_dir() / "train.yaml").is_file()


@pytest.mark.parametrize("place", ["src/cast_exp/conf", "conf"])
def test_wheel_and_clone(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "cast_exp"
    package.mkdir(parents=True)
    monkeypatch.setattr(locate, "_PACKAGE", package)
    with pytest.raises(UserError, match="no config files"):
        conf_dir()
    (tmp_path / place).mkdir()
    (tmp_path / place / "train.yaml").touch()
    assert conf_dir() == tmp_path / place


def test_every_file_says_what_it_is() -> None:
    for folder, _, names in os.walk(conf_dir()):
        for name in names:
            if name.endswith(".yaml") and not folder.endswith("local"):
                lines = Path(folder, name).read_text().splitlines()
                comments = [line for line in lines if line.startswith("# ")]
                assert comments, name
                assert not comments[0].startswith("# @package") or len(comments) > 1, name
