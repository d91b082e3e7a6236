import math
from pathlib import Path

import pytest
from support.run_folders import picture, run_folder

from cast_exp.errors import UserError
from cast_exp.run.record import RunRecord, find_runs, varying


def test_runs_are_found_at_any_depth_with_their_evaluations(tmp_path: Path) -> None:
    sweep = tmp_path / "runs/moco/sweep-1"
    made = [
        run_folder(tmp_path / "runs/moco/1"),
        run_folder(tmp_path / "runs/moco/1/eval/knn-1", kind="eval"),
        run_folder(sweep / "0_seed=0"),
        run_folder(sweep / "1_seed=1"),
    ]
    run_folder(made[0] / "untrained/of/somebody")  # within a run, but no evaluation of it
    (sweep / "multirun.yaml").touch()
    (tmp_path / "runs/moco/.trash").mkdir()
    run_folder(tmp_path / "runs/moco/.trash/2")
    assert sorted(find_runs([tmp_path / "runs"])) == sorted(path.resolve() for path in made)
    assert find_runs([sweep, sweep / "0_seed=0"]) == [path.resolve() for path in made[2:]]
    with pytest.raises(UserError, match="does not exist"):
        find_runs([tmp_path / "run"])
    with pytest.raises(UserError, match=r"multirun.yaml is a file, not a folder of runs"):
        find_runs([sweep / "multirun.yaml"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no run in"):
        find_runs([tmp_path / "runs", tmp_path / "empty"])


def test_choices_are_those_that_may_change_a_result(tmp_path: Path) -> None:
    typed = ["pooling=kmeans", "+optim.lr=0.1", "paths.runs=/x", "logger=wandb", "resume=auto"]
    folder = run_folder(
        tmp_path / "a", *typed, choices={"pooling": "kmeans", "debug": None, "hydra/env": "x"}
    )
    plain = run_folder(tmp_path / "b", config={"optim": {"lr": 0.2}, "seed": 0})
    runs = [RunRecord.read(folder), RunRecord.read(plain)]
    assert runs[0].choices == {
        "experiment": "shapes_moco",
        "pooling": "kmeans",
        "optim.lr": "0.1",
    }
    assert varying(runs) == ["pooling", "optim.lr"]
    assert [run.value("optim.lr") for run in runs] == ["0.1", "0.2"]
    assert runs[0].value("seed") == ""
    assert runs[1].value("optim") == ""


def test_the_seed_is_the_last_of_what_varies(tmp_path: Path) -> None:
    jobs = [("seed=0", "a=1"), ("seed=1", "a=2")]
    runs = [RunRecord.read(run_folder(tmp_path / job[0], *job)) for job in jobs]
    assert varying(runs) == ["a", "seed"]


def test_curves_are_the_finite_values_by_step(tmp_path: Path) -> None:
    rows = [
        {"step": 0, "epoch": 0, "train/loss": 3.0},
        {"step": 2, "epoch": 0, "train/loss": 2.0, "val/knn": 0.25},
        {"step": 4, "epoch": 1, "train/loss": math.nan},
        {"step": 2, "epoch": 0, "train/loss": 1.5},  # again, by a resumed run
        {"epoch": 0, "train/loss": 9.0},
    ]
    run = RunRecord.read(run_folder(tmp_path / "a", rows=rows, status="interrupted"))
    assert run.curves == {"train/loss": ([0, 2], [3.0, 1.5]), "val/knn": ([2], [0.25])}
    assert run.metrics == {"train/loss": 1.5, "val/knn": 0.25}
    ended = run_folder(tmp_path / "b", rows=rows, metrics={"val/knn": 0.5, "val/top1": math.nan})
    assert RunRecord.read(ended).metrics == {"train/loss": 1.5, "val/knn": 0.5}


def test_pictures_are_by_folder_and_step(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a")
    for path in ("images/step0000000.png", "images/step0000230.png", "hierarchy/pictures/7.png"):
        picture(folder / path)
    picture(folder / "eval/knn/images/step0000001.png")
    (folder / "images/.step0000001.png").touch()  # not finished
    assert RunRecord.read(folder).pictures() == {
        "hierarchy/pictures": {"7": folder / "hierarchy/pictures/7.png"},
        "images": {
            "step 0": folder / "images/step0000000.png",
            "step 230": folder / "images/step0000230.png",
        },
    }


def test_damaged_folders_tell_what_they_can(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", rows=[{"step": 1, "val/knn": 0.5}])
    (folder / "config.yaml").write_text("[1, 2")
    (folder / "run.json").write_text("{}")
    (folder / "summary.json").write_text("nothing")
    run = RunRecord.read(folder)
    assert (run.config, run.started, run.status, run.metrics) == (
        {},
        "",
        "unknown",
        {"val/knn": 0.5},
    )
    (folder / ".hydra/hydra.yaml").write_text("hydra: 3")
    with pytest.raises(UserError, match="damaged"):
        RunRecord.read(folder)
