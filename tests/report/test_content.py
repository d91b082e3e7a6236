from pathlib import Path

import pytest
from support.run_folders import picture, run_folder

from cast_exp.report import content
from cast_exp.report.content import report_content
from cast_exp.run.record import RunRecord


def read(*folders: Path) -> list[RunRecord]:
    return [RunRecord.read(folder) for folder in folders]


def test_runs_have_the_shortest_names_that_tell_them_apart(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path / name) for name in ("runs/a/1", "runs/a/2", "runs/b/1")]
    names = [run["name"] for run in report_content(read(*folders), 0)["runs"]]
    assert names == ["a/1", "a/2", "b/1"]
    assert report_content(read(folders[2]), 0)["runs"][0]["name"] == "b/1"


def test_a_run_that_was_killed_is_not_said_to_run(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", status="running")
    (run,) = report_content(read(folder), 0)["runs"]
    assert (run["status"], run["error"]) == ("killed?", RunRecord.read(folder).reason)
    assert "no process is at work" in run["error"]


def test_metrics_of_most_runs_come_first_and_results_apart(tmp_path: Path) -> None:
    both = {"train/loss": 1.0, "val/loss": 2.0, "val/top1": 0.123456789}
    folders = [
        run_folder(tmp_path / "a", metrics={"knn/top1": 1, **both}),
        run_folder(tmp_path / "b", metrics=both),
    ]
    found = report_content(read(*folders), 0)
    assert found["results"] == ["val/loss", "val/top1", "knn/top1"]
    assert found["asides"] == ["train/loss"]
    assert found["lower"] == ["train/loss", "val/loss"]
    assert found["runs"][1]["metrics"] == {"train/loss": 1.0, "val/loss": 2.0, "val/top1": 0.12346}


def test_long_curves_become_means_of_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"step": 10 * n, "train/loss": 100 - n} for n in range(100)]
    folder = run_folder(tmp_path / "a", rows=[*rows, {"step": 50, "val/knn": 0.5}])
    monkeypatch.setattr(content, "_POINTS", 20)  # of two curves
    monkeypatch.setattr(content, "_OF_A_CURVE", (2, 1000))
    curves = report_content(read(folder), 0)["runs"][0]["curves"]
    steps, values = curves["train/loss"]
    assert steps == [45 + 100 * part for part in range(10)]
    assert values == [95.5 - 10 * part for part in range(10)]
    assert curves["val/knn"] == ([50], [0.5])


def test_the_last_pictures_of_all_runs_have_room_first(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path / name) for name in "ab"]
    for folder in folders:
        for step in range(3):
            picture(folder / f"images/step{step}.png", shade=80 * step)
    picture(folders[0] / "images/step1.png").write_bytes(b"no picture")
    everything = report_content(read(*folders), 10**6)
    assert everything["left_out"] == 0
    assert [list(run["pictures"]["images"]) for run in everything["runs"]] == [
        ["step 0", "step 2"],
        ["step 0", "step 1", "step 2"],
    ]
    some = report_content(read(*folders), 3 * len(everything["pictures"][0]) // 2)
    assert [list(run["pictures"]["images"]) for run in some["runs"]] == [["step 2"], ["step 2"]]
    assert some["left_out"] == 4
    assert report_content(read(*folders), 0)["pictures"] == []


def test_untrained_weights_that_were_evaluated_are_a_row_of_their_own(tmp_path: Path) -> None:
    metrics = {"knn/top1": 0.6, "untrained/knn/top1": 0.2, "model/gflops": 3.0}
    folder = run_folder(tmp_path / "a", metrics=metrics, rows=[{"step": 1, "train/loss": 2.0}])
    picture(folder / "images/step1.png")
    picture(folder / "untrained/retrieval/pictures/7.png")
    plain = run_folder(tmp_path / "b", metrics={"knn/top1": 0.5})
    found = report_content(read(folder, plain), 10**6)
    assert found["varying"] == ["weights"]
    rows = [
        (r["name"], r["choices"]["weights"], r["metrics"], list(r["curves"])) for r in found["runs"]
    ]
    assert rows == [
        ("a", "trained", {"train/loss": 2.0, "knn/top1": 0.6, "model/gflops": 3.0}, ["train/loss"]),
        ("b", "trained", {"knn/top1": 0.5}, []),
        ("a untrained", "untrained", {"knn/top1": 0.2, "model/gflops": 3.0}, []),
    ]
    assert [list(r["pictures"]) for r in found["runs"]] == [["images"], [], ["retrieval/pictures"]]
