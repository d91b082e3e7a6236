"""Runs listed, filtered, ordered, compared and pruned from the command line."""

from pathlib import Path

import pytest
import yaml
from support.run_folders import run_folder

from cast_exp.cli import main


@pytest.fixture(autouse=True)
def four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four runs in runs/, one of them failed and done again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name, model, metrics, status in (
        ("a", "small", {"val/knn": 0.5, "train/loss": 2.0}, "finished"),
        ("b", "small", {"val/knn": 0.25, "train/loss": 1.0}, "finished"),
        ("c", "base", {"val/knn": 0.75, "train/loss": 3.0}, "finished"),
        ("d", "base", None, "failed"),
    ):
        config = {"seed": 0, "optim": {"lr": 0.1 if name == "a" else 0.2}}
        folder = Path("runs/moco", name)
        run = run_folder(
            folder, f"model={model}", choices={"model": model}, metrics=metrics, status=status
        )
        for place in (run, run / ".hydra"):
            (place / "config.yaml").write_text(yaml.safe_dump(config))


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["runs", *words]) == 0
    return capsys.readouterr().out


def names(table: str) -> list[str]:
    return [word[-1] for word in table.split() if word.startswith("moco/")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("list", "abcd"),
        ("list model=small", "ab"),
        ("list model=s*l optim.lr=0.2", "b"),
        ("list status=failed", "d"),
        ("list val/knn>0.25", "ac"),
        ("list val/knn<0.6 train/loss>1.5", "a"),
        ("best val/knn", "cab"),
        ("best train/loss", "bac"),
        ("best val/knn model=small --count 1", "a"),
    ],
)
def test_runs_are_filtered_and_ordered(
    words: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "".join(names(printed(capsys, *words.split()))) == expected


def test_a_table_has_the_figures_and_choices_that_are_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = printed(capsys, "best", "val/knn", "train/loss>0")
    for text in ("val/knn", "train/loss", "model", "0.7500", "3.0000", "MiB"):
        assert text in table
    assert "experiment" not in table  # the same in all


def test_names_are_whole_on_a_narrow_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("runs/moco/a").rename("runs/moco/" + "a" * 90)
    monkeypatch.setenv("COLUMNS", "40")
    assert "moco/" + "a" * 90 in printed(capsys, "list")


def test_a_run_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, "show", "runs/moco/a")
    for text in ("finished", "cast_exp.train model=small", "val/knn", "0.5", "shapes_moco", "MiB"):
        assert text in shown


def test_two_configs_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(capsys, "diff", "runs/moco/a", "runs/moco/c").splitlines()
    assert any(all(word in row for word in ("optim.lr", "0.1", "0.2")) for row in rows)
    assert not any("seed" in row for row in rows)


def test_what_can_go_is_told_and_deleted_only_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert "can go; add --delete" not in printed(capsys, "prune")
    again = Path("runs/moco/e")
    run_folder(again, "model=base")
    for place in (again, again / ".hydra"):
        (place / "config.yaml").write_bytes(Path("runs/moco/d/config.yaml").read_bytes())
    told = printed(capsys, "prune")
    assert "moco/d  (failed; moco/e has finished since)" in told
    assert "can go; add --delete" in told
    assert Path("runs/moco/d").is_dir()
    assert "MiB deleted" in printed(capsys, "prune", "--delete")
    assert sorted(path.name for path in Path("runs/moco").iterdir()) == ["a", "b", "c", "e"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("list --runs nowhere", "nowhere does not exist"),
        ("list seed", "seed: a filter is KEY=VALUE"),
        ("list /", "/: a folder of runs is given as --runs /"),
        ("list val/knn>high", "high is not a number"),
        ("list val/kn>0", "no run in runs has a figure val/kn; did you mean val/knn"),
        ("list modl=base", "modl=base: no run has a value of modl; did you mean model"),
        ("list status=finishd", "status=finishd: no status; did you mean finished"),
        ("show runs/moco/e", "runs/moco/e does not exist"),
        ("best val/top1", "no run in runs has a figure val/top1; options are train/loss"),
        ("show runs", "runs/.hydra/hydra.yaml is missing"),
    ],
)
def test_a_mistake_is_one_line(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", *words.split()]) == 2
    assert message in capsys.readouterr().err
