import csv
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from omegaconf import OmegaConf

from cast_exp.errors import UserError
from cast_exp.run.folder import read_summary, unfinished, write_summary
from cast_exp.run.sweep import SweepSummary, cost_plot, summarise


def add(sweep: Path, number: int, overrides: list[str], status: str, **content: Any) -> None:
    job = sweep / f"{number}_{','.join(overrides)}"
    (job / ".hydra").mkdir(parents=True)
    hydra = {"hydra": {"overrides": {"task": overrides}}}
    OmegaConf.save(hydra, job / ".hydra" / "hydra.yaml")
    write_summary(job, status, **content)  # type: ignore[arg-type]


def table(sweep: Path) -> list[dict[str, str]]:
    with open(sweep / "summary.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_table_has_a_row_for_each_job_that_ended(tmp_path: Path) -> None:
    add(tmp_path, 10, ["pooling=graph", "seed=1"], "finished", metrics={"loss": 1.5, "knn": 0.2})
    add(tmp_path, 2, ["pooling=none", "+a.b=0"], "failed", error="no data", seconds=3.0)
    (tmp_path / "11_not_started").mkdir()
    (tmp_path / "summary.json").write_text("{}")
    assert len(summarise(tmp_path)) == 2
    first, second = table(tmp_path)
    assert (first["folder"], first["status"], first["error"]) == (
        "2_pooling=none,+a.b=0",
        "failed",
        "no data",
    )
    assert (first["pooling"], first["a.b"], first["loss"], first["seconds"]) == (
        "none",
        "0",
        "",
        "3.0",
    )
    assert (second["pooling"], second["seed"], second["loss"], second["knn"]) == (
        "graph",
        "1",
        "1.5",
        "0.2",
    )
    assert (tmp_path / "summary.png").stat().st_size > 1000


def test_markdown_has_a_row_for_each_choice_with_mean_and_deviation_over_seeds(
    tmp_path: Path,
) -> None:
    shared = ["experiment=x"]
    for number, (model, seed, top1) in enumerate([("a", 0, 0.5), ("a", 1, 0.7), ("b", 0, 0.25)]):
        overrides = [*shared, f"model={model}", f"seed={seed}"]
        metrics = {"val/top1": top1, "train/loss": 2.0}
        add(tmp_path, number, overrides, "finished", metrics=metrics)
    add(tmp_path, 3, [*shared, "model=c", "seed=0"], "failed", error="no data")
    summarise(tmp_path)
    assert (tmp_path / "summary.md").read_text() == (
        "| model | runs | val/top1 |\n"
        "| --- | --- | --- |\n"
        "| a | 2 | 0.6000 ± 0.1414 |\n"
        "| b | 1 | 0.2500 |\n"
        "| c | 0 |  |\n"
    )


def test_small_figures_and_long_values_are_rounded_in_markdown_only(tmp_path: Path) -> None:
    for number, lr in enumerate(("0.00031622776601683794", "0.001")):
        metrics = {"val/loss": 1.23456e-5}
        add(tmp_path, number, [f"optim.base_lr={lr}"], "finished", metrics=metrics)
    summarise(tmp_path)
    rows = (tmp_path / "summary.md").read_text().splitlines()[2:]
    assert rows == ["| 0.0003162 | 1 | 1.235e-05 |", "| 0.001 | 1 | 1.235e-05 |"]
    assert table(tmp_path)[0]["optim.base_lr"] == "0.00031622776601683794"


def test_the_table_of_a_resumed_multirun_is_not_split(tmp_path: Path) -> None:
    for number, more in enumerate([[], ["resume=auto"]]):
        overrides = ["model=a", f"seed={number}", *more]
        add(tmp_path, number, overrides, "finished", metrics={"val/top1": 0.5})
    summarise(tmp_path)
    assert (tmp_path / "summary.md").read_text().splitlines()[2:] == ["| 2 | 0.5000 ± 0.0000 |"]


def test_plot_comes_with_the_first_metrics(tmp_path: Path) -> None:
    add(tmp_path, 0, ["seed=1"], "failed", error="x")
    summarise(tmp_path)
    assert not (tmp_path / "summary.png").exists()
    add(tmp_path, 1, ["seed=2"], "finished", metrics={"loss": 1.0})
    summarise(tmp_path)
    assert (tmp_path / "summary.png").exists()


def test_what_does_not_vary_and_what_is_untrained_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(Axes, "set_title", lambda _, title, **__: drawn.append(title))
    metrics = {"val/knn": 0.5, "val/knn_untrained": 0.1, "untrained/knn/top1": 0.1}
    for number in range(2):
        overrides = ["experiment=x", "data.root=d", f"seed={number}"]
        add(tmp_path, number, overrides, "finished", metrics=metrics)
    summarise(tmp_path)
    assert list(table(tmp_path)[0]) == ["folder", "status", "seconds", "seed", *metrics, "error"]
    assert drawn == ["val/knn"]


def test_a_multirun_of_one_job_counts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "sweep"
    add(sweep, 0, [], "finished", metrics={"loss": 1.0})
    (sweep / "0_").rename(sweep / "0")
    SweepSummary().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep)}}}))
    assert "1 of 1 jobs finished" in capsys.readouterr().out


def test_figures_over_what_models_cost(tmp_path: Path) -> None:
    models = [("cast_small", 0, 6.0, 0.5), ("cast_small", 1, 6.0, 0.7), ("vit_base", 0, 34.0, 0.9)]
    models += [("cast_base_deep", 0, 24.0, 0.8)]
    for number, (model, seed, gflops, top1) in enumerate(models):
        metrics = {"model/gflops": gflops, "train/loss": 1.0, "probe/top1": top1}
        add(tmp_path, number, [f"model={model}", f"seed={seed}"], "finished", metrics=metrics)
    add(tmp_path, 9, ["model=vit_tiny", "seed=0"], "failed", error="no data")
    jobs = summarise(tmp_path)
    assert (tmp_path / "gflops.png").stat().st_size > 1000
    figure = cost_plot(jobs)
    assert figure is not None
    (axes,) = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines == {"cast": [[6, pytest.approx(0.6)], [24, 0.8]], "vit": [[34, 0.9]]}
    named = {text.get_text(): (*text.xy,) for text in axes.texts}
    assert named["cast_small"] == (6, pytest.approx(0.6))
    assert cost_plot(jobs[:2]) is None  # of one model


def test_how_a_multirun_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "sweep")}}})
    callback = SweepSummary()
    callback.on_multirun_start(config)
    assert read_summary(tmp_path / "sweep")["status"] == "running"
    add(tmp_path / "sweep", 0, ["seed=1"], "finished", metrics={"loss": 1.0})
    callback.on_multirun_end(config)
    assert read_summary(tmp_path / "sweep")["status"] == "finished"
    add(tmp_path / "sweep", 1, ["seed=2"], "failed", error="no data")
    callback.on_multirun_end(config)
    assert read_summary(tmp_path / "sweep")["status"] == "failed"
    assert "failed: 1_seed=2: no data" in capsys.readouterr().out


def test_a_multirun_that_is_going_is_left_alone(tmp_path: Path) -> None:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "sweep-1")}}})
    other = multiprocessing.get_context("fork")
    ready, over = other.Event(), other.Event()

    def go() -> None:
        callback = SweepSummary()
        callback.on_multirun_start(config)
        ready.set()
        over.wait(30)
        callback.on_multirun_end(config)

    process = other.Process(target=go)
    process.start()
    assert ready.wait(30)
    (tmp_path / "sweep-1" / "multirun.yaml").touch()
    assert unfinished(tmp_path, "multirun.yaml") == []
    with pytest.raises(UserError, match="is in use"):
        SweepSummary().on_multirun_start(config)
    over.set()
    process.join(30)
    write_summary(tmp_path / "sweep-1", "failed")
    assert unfinished(tmp_path, "multirun.yaml") == [tmp_path / "sweep-1"]
