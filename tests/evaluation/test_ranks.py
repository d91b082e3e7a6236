"""Evaluations on two processes give what one gives, and go on with each other's work."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from support.evaluations import evaluation, fails_on_one, files, measured, subject
from support.trainers import make_trainer
from support.two_ranks import on_two_ranks

from cast_exp.evaluation import figure_ground

BY_IMAGE = ("retrieval", "figure_ground", "hierarchy")
IMAGES = {"retrieval": 7 + 4, "figure_ground": 5, "hierarchy": 5 + 3, "segmentation": 5}


def rows(folder: Path) -> list[dict[str, str]]:
    """What a probe has logged."""
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def same(found: dict[str, float], expected: dict[str, float]) -> bool:
    """Sums of double precision may be added up in another order."""
    return found == pytest.approx(expected, rel=1e-12, abs=0, nan_ok=True)


def kept(folder: Path) -> dict[str, bytes]:
    """What is in a folder, but for the queries that each process has answered."""
    return {name: content for name, content in files(folder).items() if "queries/" not in name}


@pytest.mark.parametrize(
    "name", ["knn", "classification", "segmentation", "segment_probe", *BY_IMAGE]
)
def test_two_processes_do_what_one_does(name: str, tmp_path: Path) -> None:
    expected, calls = measured(name, tmp_path / "one")
    (first, calls_0), (second, calls_1) = on_two_ranks(measured, name, tmp_path / "two")
    assert first == pytest.approx(second, rel=0, abs=0, nan_ok=True)
    assert same(first, expected)
    assert kept(tmp_path / "two") == kept(tmp_path / "one")
    if name in IMAGES:
        assert calls == calls_0 + calls_1 == IMAGES[name]
        assert abs(calls_0 - calls_1) <= 2


def test_two_processes_probe_as_one_does(tmp_path: Path) -> None:
    expected, _ = measured("linear_probe", tmp_path / "one")
    found = on_two_ranks(measured, "linear_probe", tmp_path / "two")
    assert found[0][0] == found[1][0] == pytest.approx(expected, abs=1e-6)
    losses = [
        [float(row["train/loss"]) for row in rows(tmp_path / folder) if row["train/loss"]]
        for folder in ("one", "two")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("name", BY_IMAGE)
@pytest.mark.parametrize("first", ["one", "two"])
def test_others_go_on_where_it_was_interrupted(name: str, first: str, tmp_path: Path) -> None:
    expected, _ = measured(name, tmp_path / "straight")
    folder = tmp_path / "parts"
    if first == "one":
        assert measured(name, folder, 2) == (None, 2)
        results = on_two_ranks(measured, name, folder)
        done = 2
    else:
        most = 2 if name == "retrieval" else 1  # of which a file of its memory is
        assert on_two_ranks(measured, name, folder, most) == [(None, most), (None, most)]
        results = [measured(name, folder)]
        done = 2 * most
    assert done + sum(calls for _, calls in results) == IMAGES[name]
    for figures, _ in results:
        assert same(figures, expected)
    assert kept(folder) == kept(tmp_path / "straight")
    assert measured(name, folder)[1] == 0


@pytest.mark.parametrize(("name", "where"), [("knn", 0), ("figure_ground", 1), ("linear_probe", 1)])
def test_what_fails_on_one_process_fails_on_both_and_takes_no_other_along(
    name: str, where: int, tmp_path: Path
) -> None:
    results = on_two_ranks(fails_on_one, name, where, tmp_path)
    told = f"process {where}: RuntimeError: no luck"
    for number, (alone, together) in enumerate(results):
        assert alone == ("RuntimeError: no luck" if number == where else f"UserError: {told}")
        assert f"bad ({'no luck' if number == where else told})" in together
    (row,) = (tmp_path / "evaluations.md").read_text().splitlines()[2:]
    assert row.startswith("| knn top1 |")


def test_the_network_runs_in_the_precision_of_the_trainer_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def look(place: str) -> None:
        on = torch.is_autocast_enabled("cpu")
        seen[place] = torch.get_autocast_dtype("cpu") if on else torch.float32

    def looked(*args: Any) -> torch.Tensor:
        look("measure")
        return measure(*args)

    measure = figure_ground.head_jaccards
    monkeypatch.setattr(figure_ground, "head_jaccards", looked)
    judged = subject("figure_ground")
    judged.backbone.register_forward_pre_hook(lambda *_: look("network"))
    for precision, dtype in (("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)):

        def trainers(precision: str = precision, **options: Any) -> Any:
            return make_trainer(precision, **options)

        evaluation("figure_ground").evaluate(trainers, judged, tmp_path)
        assert seen == {"network": dtype, "measure": torch.float32}
        seen.clear()  # and the figures in half precision were not taken for these
    assert {parameter.dtype for parameter in judged.backbone.parameters()} == {torch.float32}
