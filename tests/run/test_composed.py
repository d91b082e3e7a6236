"""Evaluations that a command asks for are added to what it composes to."""

from pathlib import Path

import pytest

from cast_exp.config import key_of, values_of
from cast_exp.run.preflight import checked_command
from cast_exp.train import train

QUICK = ["experiment=shapes_moco", "debug=fast"]


def test_an_evaluation_needs_a_file_only(tmp_path: Path) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "again.yaml").write_text(
        "# @package evaluation.again\ndefaults: [knn@_here_, _self_]\nneighbours: 3\n"
    )
    command = [f"--config-dir={tmp_path}", *QUICK, "evaluate=[again]", "evaluation.again.memory=5"]
    found = checked_command(command, "train", train)
    (chosen,) = (word for word in found if key_of(word) == "evaluation")
    assert "again" in values_of(chosen)
    assert "knn" in values_of(chosen)


@pytest.mark.parametrize("asked", ["evaluate=[knn]", "seed=1"])
def test_an_evaluation_that_is_not_asked_for_adds_nothing(tmp_path: Path, asked: str) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "again.yaml").write_text(
        "# @package evaluation.again\nneighbours: 3\n"
    )
    found = checked_command([f"--config-dir={tmp_path}", *QUICK, asked], "train", train)
    assert not [word for word in found if key_of(word) == "evaluation"]
