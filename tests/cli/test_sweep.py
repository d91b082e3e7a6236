"""A search over runs: killed and repeated, refused, and told of."""

import csv
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from support.cli import SMALL, restored
from support.commands import ROOT

from cast_exp.cli import main, sweep
from cast_exp.cli.sweep import Search, _corners
from cast_exp.config import conf_dir
from cast_exp.errors import UserError
from cast_exp.run.folder import sole_writer, write_summary
from cast_exp.run.objective import direction, outcome
from cast_exp.run.preflight import checked_command
from cast_exp.study import open_study
from cast_exp.train import train

pytest.importorskip("optuna")
SEARCHES = sorted(path.stem for path in Path(conf_dir(), "sweep", "search").glob("*.yaml"))
TRIALS = 6
PLACE = {"paths": {"runs": "runs"}, "name": "shapes_moco"}


def noted(what: str) -> int:
    """Lines of the log that toy runs have written."""
    return Path("log").read_text().count(f"{what} ") if Path("log").exists() else 0


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAST_EXP_RUNS", raising=False)
    (tmp_path / "mine" / "sweep" / "search").mkdir(parents=True)


def file(text: str) -> list[str]:
    """A search of the user's, and what names it."""
    Path("mine/sweep/search/own.yaml").write_text(text)
    return ["sweep=search/own", "--config-dir", "mine"]


def toy_run(_: object, __: str, words: Sequence[str], apart: bool) -> list[tuple[Path, int]]:
    """A run that notes when it begins and ends; killed in between, it begins again."""
    assert apart
    place = next(text for text in words if text.startswith("hydra.run.dir="))
    run = Path(place.partition("=")[2].strip("'"))
    run.mkdir(exist_ok=True)
    with sole_writer(run), open("log", "a") as log:
        log.write(f"begin {run.name}\n")
        log.flush()
        time.sleep(random.uniform(0.02, 0.15))
        value = next(float(text.partition("=")[2]) for text in words if "base_lr" in text)
        log.write(f"end {run.name}\n")
        write_summary(run, "finished", metrics={"val/knn": value})
    return [(run, 0)]


@pytest.mark.parametrize("journal", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_processes_that_are_killed_and_repeated_make_exactly_the_trials_none_twice(
    journal: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "launch", toy_run)
    monkeypatch.setattr(sweep, "checked_command", lambda *_: [])
    monkeypatch.setattr(sweep, "summarise", lambda _: [])
    monkeypatch.setattr(sweep, "draw", lambda *_: None)
    space = "space: {optim.base_lr: {low: 1.0e-5, high: 1.0e-2, log: true}}\n"
    named = file(f"objective: val/knn\ntrials: {TRIALS}\n{space}")
    command = ["sweep", "experiment=shapes_moco", *named, *["--journal"] * journal]
    monkeypatch.setattr(sweep, "compose", lambda *_: OmegaConf.create(PLACE))
    context = multiprocessing.get_context("fork")
    for killed_after in (2, 4, None):
        workers = [context.Process(target=main, args=(command,)) for _ in range(2)]
        for worker in workers:
            worker.start()
        while killed_after and noted("begin") < killed_after:
            time.sleep(0.01)
        for worker in workers:
            if killed_after:
                os.kill(worker.pid or 0, signal.SIGKILL)
            worker.join(60)
    (folder,) = Path("runs/shapes_moco").glob("search-*")
    ended = Counter(
        line.split()[1] for line in Path("log").read_text().splitlines() if "end" in line
    )
    assert len(ended) == TRIALS
    assert set(ended.values()) == {1}
    assert sorted(int(name.partition("_")[0]) for name in ended) == list(range(TRIALS))
    capfd.readouterr()
    assert main([*command, "--trials", str(TRIALS + 1)]) == 0
    trials = open_study(folder).get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * (TRIALS + 1)
    assert (
        f"{TRIALS + 1} of {TRIALS + 1} trials finished: {folder.resolve()}"
        in capfd.readouterr().out
    )
    assert max(trial.value or 0 for trial in trials) == max(
        t.params["optim.base_lr"] for t in trials
    )


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_has_values_that_there_are_and_names_its_command(name: str) -> None:
    path = Path(conf_dir(), "sweep", "search", f"{name}.yaml")
    assert f"cast-exp sweep experiment=shapes_moco sweep=search/{name}\n" in path.read_text()
    search = Search.read(name, None)
    for values in _corners(search.space):
        checked_command(["experiment=shapes_moco", *values], "train", train)


def test_an_agent_of_wandb_runs_commands_that_are_well() -> None:
    about = yaml.safe_load((ROOT / "docs" / "examples" / "wandb_sweep.yaml").read_text())
    *words, arguments = about["command"]
    assert words[:3] == ["python", "-m", "cast_exp.train"]
    assert arguments == "${args_no_hyphens}"
    for ends in (min, max):
        chosen = {
            key: v.get("values") or [v["min"], v["max"]] for key, v in about["parameters"].items()
        }
        values = [f"{key}={ends(value)}" for key, value in chosen.items()]
        checked_command([*words[3:], *values], "train", train)
    assert direction(about["metric"]["name"]) == about["metric"]["goal"]


def test_values_of_all_kinds_reach_the_runs() -> None:
    space = "{a: [1, x, null, true, [2, 1], 1.0e-5], b: {low: 1, high: 3}}"
    file(f"objective: val/knn\nspace: {space}")
    rows = list(_corners(Search.read("own", Path("mine")).space))
    assert [row[0] for row in rows] == ["a=1", "a=x", "a=null", "a=true", "a=[2,1]", "a=1e-05"]
    assert [row[1] for row in rows] == ["b=1", "b=3"] * 3


GOOD = "objective: val/knn\nspace: {seed: [0, 1]}\n"


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        (GOOD, ["sweep=search/oen"], r"name one search: sweep=search/NAME"),
        (GOOD, ["resume=auto"], r"leave out resume: .* --new begins another"),
        ("space: {seed: [0]}", [], r"own.yaml: objective: Field required"),
        (GOOD + "trails: 3", [], r"own.yaml: trails: Extra inputs are not permitted"),
        (GOOD + "trials: 0", [], r"own.yaml: trials: .*greater than or equal to 1"),
        ("objective: [", [], r"own.yaml, line 2: no YAML"),
        (
            "objective: val/knm\nspace: {seed: [0]}",
            [],
            r"objective=val/knm: .* did you mean val/knn",
        ),
        (f"{GOOD}prune: val/kn", [], r"callbacks.prune.monitor=val/kn: .* did you mean val/knn"),
        ("objective: val/knn\nspace: {sead: [0]}", [], r"sead: there is no such key; did you mean"),
        ("objective: val/knn\nspace: {seed: {low: -1, high: 5}}", [], r"seed=-1: should be"),
    ],
)
def test_a_mistake_is_told_before_there_is_a_folder(
    text: str, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "experiment=shapes_moco", *file(text), *more]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert "Traceback" not in error
    assert not Path("runs").exists()


def test_without_optuna_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'cast-exp\[sweep\]'"):
        sweep.main([])


def test_training_says_what_runs_a_search() -> None:
    with pytest.raises(UserError, match=r"sweep=search/moco is a search; .*cast-exp sweep"):
        checked_command(["experiment=shapes_moco", "sweep=search/moco"], "train", train)


def test_failed_trials_count_and_a_wrong_objective_ends_the_search(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def job(words: Sequence[str]) -> list[tuple[Path, int]]:
        run = Path(words[-1].partition("=")[2].strip("'"))
        number = int(run.name.partition("_")[0])
        if number == 1:
            raise UserError("too many levels")
        good = number in (0, 3)
        figures = {"val/knn": 0.5} if number == 0 else {"val/top1": 0.1}
        write_summary(run, "finished" if good else "failed", metrics=figures)
        if number == 2:
            write_summary(run, "finished", metrics={"pruned": 1.0})
        outcome("val/knn", run)
        return [(run, 0)]

    monkeypatch.setattr(sweep, "launch", lambda _, __, words, apart: job(words))
    monkeypatch.setattr(sweep, "checked_command", lambda *_: [])
    monkeypatch.setattr(sweep, "summarise", lambda _: [])
    command = ["sweep", "experiment=shapes_moco", *file(GOOD), "--trials"]
    assert main([*command, "3"]) == 2
    printed = capsys.readouterr()
    assert "error: too many levels" in printed.err
    assert "1 of 3 trials finished, 1 pruned, 1 failed" in printed.out
    assert "best val/knn: 0.5000 in trial 0, with seed=" in printed.out
    assert main([*command, "4"]) == 2
    printed = capsys.readouterr()
    assert "going on with" in printed.err
    assert "error: objective=val/knn: the run is finished and saved, but has no" in printed.err
    assert main([*command, "1", "--new"]) == 0
    assert len(list(Path("runs/shapes_moco").glob("search-*"))) == 2


@pytest.mark.slow
def test_a_search_in_miniature(capsys: pytest.CaptureFixture[str]) -> None:
    space = "{optim.base_lr: {low: 1.0e-4, high: 1.0e-2, log: true}, task.momentum: [0.9, 0.99]}"
    named = file(f"objective: val/knn\nprune: val/knn\ntrials: 3\nspace: {space}")
    with restored():
        assert main(["sweep", *SMALL, "trainer.max_epochs=2", *named]) == 0
    (folder,) = Path("runs/shapes_moco").glob("search-*")
    with open(folder / "summary.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["status"] for row in rows] == ["finished"] * 3
    trials = open_study(folder).get_trials()
    for row, trial in zip(rows, trials, strict=True):
        assert float(row["optim.base_lr"]) == trial.params["optim.base_lr"]
        assert float(row["val/knn"]) == trial.value
        assert list(trial.intermediate_values) == [0]
    assert (folder / "importance.png").exists() == (len({t.value for t in trials}) > 1)
    assert f"best val/knn: {max(t.value or 0 for t in trials):.4f}" in capsys.readouterr().out
