"""Runs listed, filtered, ordered, compared and pruned from the command line."""

import json
from pathlib import Path

import pytest
import yaml
from support.run_folders import run_folder

from cast_exp.cli import main
from cast_exp.run.folder import write_summary


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
        ("list kind=train status=failed", "d"),
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


@pytest.mark.parametrize("search", [False, True])
def test_a_sweep_is_told_of(search: bool, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("runs/moco/sweep-1")
    for number, (model, knn) in enumerate((("small", 0.5), ("base", 0.75), ("huge", None))):
        figures = {"val/knn": knn, "val/loss": 3.0 * knn, "lr": 1e-5} if knn else None
        run_folder(
            folder / f"{number}_model-{model}",
            f"model={model}",
            choices={"model": model},
            config={"objective": "val/loss"} if search else {},
            metrics=figures,
            status="finished" if knn else "failed",
        )
    run_folder(folder / "0_model-small/eval/knn-1", metrics={"knn/top1": 0.9}, kind="eval")
    if search:
        about = {"command": [], "objective": "val/loss", "space": {"model": ["small", "base"]}}
        (folder / "search.json").write_text(json.dumps(about))
    else:
        overrides = {"task": ["experiment=x", "model=small,base,huge"], "hydra": ["hydra.mode=M"]}
        (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": {"overrides": overrides}}))
        write_summary(folder, "failed")
    shown = printed(capsys, "show", str(folder))
    command = "python -m cast_exp.train -m experiment=x model=small,base,huge"
    for text in ("2 finished, 1 failed", "{'model': ['small', 'base']}" if search else command):
        assert text in shown
    rows = [line.strip("│┃ ").replace("│", "┃").split("┃") for line in shown.splitlines()]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert ["what varies", "model"] in cells
    assert ["best val/knn", "0.7500 in 1_model-base"] in cells
    assert ["best val/loss", "1.5000 in 0_model-small"] in cells
    figures_of = {row[0]: row[3:-2] for row in cells if len(row) > 3}
    assert figures_of == (
        {"run": ["val/loss"], "0_model-small": ["1.5000"], "1_model-base": ["2.2500"]}
        if search
        else {
            "run": ["val/knn", "val/loss"],
            "0_model-small": ["0.5000", "1.5000"],
            "1_model-base": ["0.7500", "2.2500"],
        }
    ) | {"2_model-huge": [""] if search else ["", ""]}


def test_evaluations_are_told_from_trainings(capsys: pytest.CaptureFixture[str]) -> None:
    run_folder(Path("runs/moco/a/eval/knn-1"), kind="eval")
    rows = [line.split() for line in printed(capsys, "list").splitlines() if "moco/" in line]
    kinds = {row[1]: row[3] for row in rows}
    assert kinds.pop("moco/a/eval/knn-1") == "eval"
    assert set(kinds.values()) == {"train"}
    assert names(printed(capsys, "list", "kind=eval")) == ["1"]


def test_what_was_killed_is_not_said_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(Path("runs/moco/e"), metrics={"train/loss": 2.0}, status="running")
    told = "killed?: it was running, but no process is at work there"
    assert told in printed(capsys, "show", str(folder))
    assert "killed?" in printed(capsys, "list", "status=killed?")
    assert not names(printed(capsys, "list", "status=running"))
    sweep = Path("runs/moco/sweep-2")
    folder.rename(sweep.with_name("0_seed-0"))
    sweep.mkdir()
    Path("runs/moco/0_seed-0").rename(sweep / "0_seed-0")
    overrides = {"task": ["seed=0,1"], "hydra": []}
    (sweep / "multirun.yaml").write_text(yaml.safe_dump({"hydra": {"overrides": overrides}}))
    write_summary(sweep, "running")
    shown = printed(capsys, "show", str(sweep))
    assert "killed?" in shown
    assert "1 killed?" in shown
    assert "running" not in shown
    assert "2.0000 in 0_seed-0" in shown  # a loss, as there are no results


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
        ("list status=finishd", "status=finishd: no such status; did you mean finished"),
        ("list kind=evil", "kind=evil: no such kind; did you mean eval"),
        ("list status=", "status=: no such status; options are running, finished"),
        ("list --runs runs/file", "runs/file is a file, not a folder of runs"),
        ("show runs/file", "runs/file is a file, not the folder of a run, a sweep or a search"),
        ("diff runs/file runs/moco/a", "runs/file is a file, not the folder of a run"),
        ("show runs/moco/e", "runs/moco/e does not exist"),
        ("best val/top1", "no run in runs has a figure val/top1; options are train/loss"),
        ("show runs", "runs is not the folder of a run, sweep or search; find them by"),
    ],
)
def test_a_mistake_is_one_line(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("runs/file").touch()
    assert main(["runs", *words.split()]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("best", "the following arguments are required: METRIC\n"),
        ("best val/knn --count -1", "'-1' is not a whole number from 1 up"),
    ],
)
def test_a_mistake_in_options_is_one_line(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["runs", *words.split()])
    assert message in capsys.readouterr().err
