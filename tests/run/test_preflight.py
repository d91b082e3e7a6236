"""A command is checked as a whole before any of it is run."""

from pathlib import Path

import pytest

from cast_exp.errors import UserError
from cast_exp.run.preflight import checked_command
from cast_exp.run.resolvers import register_resolvers
from cast_exp.train import train


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    register_resolvers()


def test_the_command_of_a_run_is_handed_on(tmp_path: Path) -> None:
    command = ["experiment=shapes_moco", "seed=3"]
    assert checked_command(command, "train", train)[:2] == command
    assert not list(tmp_path.iterdir())


def test_all_mistakes_are_told_at_once() -> None:
    command = ["experiment=shapes_moco", "trainer.max_epochs=many", "task.seed=-1"]
    with pytest.raises(UserError, match="2 mistakes in the command or config") as caught:
        checked_command(command, "train", train)
    assert all(f"\n  {text}" in str(caught.value) for text in command[1:])


def test_a_mistake_in_the_last_job_shows_before_the_first_starts() -> None:
    command = ["-m", "experiment=shapes_moco", "data.batch_size=8,0"]
    with pytest.raises(UserError, match=r"data\.batch_size=0"):
        checked_command(command, "train", train)
    with pytest.raises(UserError, match=r"data\.batch_size=8,0: several values; add -m"):
        checked_command(command[1:], "train", train)
