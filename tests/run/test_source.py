import hashlib
from pathlib import Path

import pytest

from cast_exp.errors import UserError
from cast_exp.run.source import source_of


def test_weights_of_a_run_are_told_by_path_run_and_digest(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").touch()
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    path.write_bytes(b"weights")
    assert source_of(str(path), "average") == {
        "checkpoint": str(path),
        "run": str(tmp_path / "run"),
        "which": "average",
        "sha256": hashlib.sha256(b"weights").hexdigest(),
    }


def test_there_may_be_none_but_not_a_wrong_one(tmp_path: Path) -> None:
    assert source_of(None, "trained") == {"checkpoint": None}
    with pytest.raises(UserError):
        source_of(str(tmp_path / "missing.ckpt"), "trained")
