"""What a run prints."""

import logging
from pathlib import Path

import pytest

from cast_exp.run.notes import Counts
from cast_exp.run.plan import Plan
from cast_exp.run.show import show_config, show_plan, show_result


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def rows(text: str) -> dict[str, str]:
    """The cells of a printed table of two columns."""
    cells = [line.strip("│ ").split("│") for line in text.splitlines() if line.count("│") == 3]
    return {name.strip(): value.strip() for name, value in cells}


def test_a_config_is_shown_with_its_references(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(
        "seed: 3\n"
        "task: {_target_: a.b.Task, lr: '${mul:2}', at: '${paths.run}/x', data: '${data}'}\n"
        "data: {count: 5}\n"
    )
    data = {"count": 5}
    task = {"_target_": "a.b.Task", "lr": 0.5, "at": "/deep/down/x", "data": data}
    show_config(tmp_path, {"seed": 3, "task": task, "data": data})
    shown = capsys.readouterr().out
    assert "seed: 3" in shown
    assert "lr: 0.5" in shown, "a number is shown, not how it is computed"
    assert "at: ${paths.run}/x" in shown
    assert "data: ${data}" in shown
    assert "task Task" in shown
    assert "_target_" not in shown


def test_a_plan_is_shown_with_what_images_become(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    plan = Plan(1281167, 8, 256, 32, 512, 0.0015, 100, 2502, 250200)
    with caplog.at_level(logging.INFO):
        show_plan(plan, Counts(196, 180, (64, 32)), ["take care"])
    table = rows(capsys.readouterr().out)
    assert table["images"] == "1,281,167"
    assert table["effective batch size"] == "512"
    assert table["lr"] == "0.0015"
    assert table["steps"] == "250,200"
    assert table["superpixels of an image"] == "180 (196 asked for)"
    assert table["segments"] == "64, 32"
    assert "note: take care" in caplog.text


def test_a_result_has_losses_figures_and_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.csv").write_text(
        "epoch,step,train/loss,val/knn\n0,1,4.0,\n0,2,2.0,\n0,2,,0.5\n1,3,1.0,\n1,4,0.5,\n"
    )
    (tmp_path / "images").mkdir()
    for step in (0, 12):
        (tmp_path / "images" / f"step{step:07d}.png").touch()
    metrics = {
        "val/top1": 0.5,
        "val/top5": 0.75,
        "val/top1_rate0.3": 0.4,
        "val/knn_untrained": 0.125,
        "val/knn": 0.5,
        "val/miou": 0.25,
        "throughput/images_per_second": 1234.5,
        "time/fit": 61.25,
    }
    show_result(tmp_path, metrics)
    shown = capsys.readouterr().out
    assert rows(shown) == {
        "loss, first and last epoch": "3.0000   0.7500",
        "accuracy, top-1 and top-5": "50.0 %   75.0 %",
        "top-1 at 0.3 x the learning rate": "40.0 %",
        "mIoU": "25.0 %",
        "kNN accuracy, untrained and trained": "12.5 %   50.0 %",
        "images per second": "1234",
        "seconds of fit": "61.2",
    }
    assert f"folder   {tmp_path}\n" in shown
    assert f"picture  {tmp_path / 'images' / 'step0000012.png'}\n" in shown
    assert f"curves   {tmp_path / 'metrics.csv'}\n" in shown
    assert "weights" not in shown, "there are none"


def test_only_the_first_process_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    show_config(tmp_path, {})
    show_result(tmp_path, {"val/top1": 0.5})
    show_plan(Plan(1, 1, 1, 1, 1, 1.0, 1, 1, 1), None, [])
    assert capsys.readouterr().out == ""


def test_a_config_is_shown_where_hydra_has_left_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_config(tmp_path, {"seed": 3})
    assert "seed: 3" in capsys.readouterr().out
