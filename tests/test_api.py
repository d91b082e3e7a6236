"""Training and evaluation from Python."""

from pathlib import Path

import pytest
from support.cli import SMALL, runs

from cast_exp.api import run_evaluation, run_training
from cast_exp.errors import UserError
from cast_exp.run.folder import read_summary, write_summary


@pytest.mark.slow
def test_a_run_and_an_evaluation_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained = run_training([*SMALL, "trainer.max_epochs=1"])
    assert runs() == [trained.folder.relative_to(tmp_path)]
    assert trained.metrics == read_summary(trained.folder)["metrics"]
    assert "train/loss" in trained.metrics
    evaluated = run_evaluation([f"run={trained.folder}", "evaluate=[knn]"])
    assert evaluated.folder.is_relative_to(trained.folder / "eval")
    assert "knn/top1" in evaluated.metrics


def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"optim\.base_rl.*did you mean optim\.base_lr"):
        run_training([*SMALL, "optim.base_rl=1"])
    with pytest.raises(UserError, match="-m is for the command line"):
        run_training(["-m", *SMALL])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("code", "error"), [(1, RuntimeError), (2, UserError), (143, RuntimeError)]
)
def test_a_run_that_fails(
    code: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "debug" / "now"
    write_summary(folder, "failed", error="no images there")
    monkeypatch.setattr("cast_exp.api.launch", lambda *_, **__: [(folder, code)])
    with pytest.raises(error, match=f"no images there|exit code {code}.*run.log"):
        run_training(["resume=FOLDER"])
    assert folder.is_dir()
    with pytest.raises(error):
        run_training(SMALL)
    assert folder.is_dir() == (code != 2)  # of a new run that was refused


def test_a_multirun_that_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cast_exp.api.launch", lambda *_, **__: [(tmp_path, 0)] * 2)
    with pytest.raises(UserError, match="multirun, which is for the command line"):
        run_training(["resume=SWEEP"])
