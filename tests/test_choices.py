"""Every choice of every group with every other: composed, checked and built, or refused in words.

The rows are a pairwise cover, made here. What is to be refused, and how, follows from a few rules
that know nothing of the code; all else must compose to a config without a mistake, whose task can
be built (on the meta device, where nothing is computed).
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from support.pairwise import Row, pairwise_cover
from test_contracts import is_evaluation, options

from cast_exp.config import conf_dir, mistakes
from cast_exp.errors import UserError
from cast_exp.eval import evaluate_model
from cast_exp.run import jobs
from cast_exp.run.build import build
from cast_exp.run.preflight import checked_command
from cast_exp.run.resolvers import register_resolvers
from cast_exp.train import train

DENSE = (
    "retrieval",
    "segment_probe",
    "segment_clusters",
    "figure_ground",
    "hierarchy",
    "open_vocabulary",
)
EVALUATIONS = ("knn", "linear_probe", *DENSE)
ROWS = 10  # in a test
FAST = 0.1  # share of the rows that are not left to the slow suite

SHARED = {
    "data": options("data"),
    "superpixel": options("superpixel"),
    "pooling": options("pooling"),
    "model": options("model"),
    "strategy": options("strategy"),
    "logger": options("logger"),
}
RECIPES = [name for name in options("experiment") if not is_evaluation(name)]
TRAINING = pairwise_cover(
    {"experiment": RECIPES}
    | SHARED
    | {"regularizer": options("regularizer"), "decoder": options("decoder")}
    | {"evaluate": ["", *EVALUATIONS]}
)
EVALUATED = {
    "experiment": [*filter(is_evaluation, options("experiment")), "in1k_moco", "shapes_moco"]
}
ALL_SIZES = pairwise_cover(EVALUATED | SHARED | {"evaluate": EVALUATIONS})
ONE_SIZE = [name for name in options("model") if name.endswith("_tiny") or "pretrained" in name]
EVALUATION = pairwise_cover(EVALUATED | SHARED | {"model": ONE_SIZE, "evaluate": EVALUATIONS})


def on_pixels(data: str) -> bool:
    """Whether an option of `data` has truth on pixels, by what its file is made of."""
    text = (conf_dir() / "data" / f"{data}.yaml").read_text()
    base = re.search(r"defaults:\n  - (\w+)", text)
    assert base is not None
    return base[1] == "_scenes" or (base[1] != "_base" and on_pixels(base[1]))


def refusal_of_training(row: Row) -> str | None:
    """What the message must hold; None if there is nothing to refuse."""
    if row["experiment"].endswith(("finetune", "segmenter")) != on_pixels(row["data"]):
        return r"task=\w+ needs .*, data=\w+ has .*; choose one of data=\w+,"
    if row["evaluate"] in ("knn", "linear_probe") and on_pixels(row["data"]):
        return r"evaluate=\[\w+\] needs whole images .*; choose one of data=cifar10,"
    if row["model"].startswith("pretrained"):
        return r"should be set with checkpoint="
    fused = row["experiment"].startswith(("shapes", "coco"))
    if row["experiment"].endswith("finetune") and not fused:
        return r"no fusion block .*; set model.fusion=true"
    return None


def refusal_of_evaluation(row: Row) -> str | None:
    """As above."""
    dense, on_its_data = row["evaluate"] in DENSE, is_evaluation(row["experiment"])
    if (not dense or on_its_data) and dense != on_pixels(row["data"]):
        return r"evaluate=\[\w+\] needs .*; choose one of data=\w+,"
    rooted = not row["data"].startswith("shapes")
    if dense and not on_its_data and (rooted or row["model"].startswith("pretrained")):
        return r"data[\w.]*=\w+: evaluate=\[\w+\] does not read it"
    if row["model"].startswith(("vit", "tome")):
        return r"pooling=\w+: evaluate=\[\w+\] does not read it"
    if row["model"].startswith("pretrained"):
        return r"should be set with checkpoint="
    return None


def command(row: Row) -> list[str]:
    chosen = [f"{group}={option}" for group, option in row.items() if group != "evaluate"]
    given = ["data.dataset.classes=[sky,road]"] if row["data"] == "voc_folder" else []
    root = [] if row["data"].startswith("shapes") else ["data.root=images"]
    return [*chosen, *root, *given, f"evaluate=[{row['evaluate']}]"]


def outcome(row: Row, name: str, entry: Callable[..., Any]) -> str:
    """The message of the user's mistake; empty if there is none."""
    try:
        checked_command(command(row), name, entry)
    except UserError as error:
        return str(error)
    return ""


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build the task, or the model, of each config that has no mistake."""
    register_resolvers()

    def checked(config: DictConfig, entry: Callable[..., Any]) -> list[str]:
        if found := mistakes(config, entry):
            return found
        with torch.device("meta"):
            build(config.task if entry is train else config.model)
        return []

    monkeypatch.setattr(jobs, "mistakes", checked)
    monkeypatch.setattr(jobs, "refusals", lambda *_, **__: [])  # of devices that are not here


def surprises(
    rows: list[Row], name: str, entry: Callable[..., Any], refusal: Callable[[Row], str | None]
) -> list[str]:
    """Rows that went otherwise than foretold, a line each."""
    lines = []
    for row in rows:
        found, expected = outcome(row, name, entry), refusal(row)
        if not (re.search(expected, found) if expected else not found):
            lines.append(f"{' '.join(command(row))}\n  found {found!r}\n  not {expected!r}")
    return lines


def parts(rows: list[Row]) -> list[Any]:
    """The rows for several tests, so that several workers share them."""
    starts = range(0, len(rows), ROWS)
    marks = [() if start < FAST * len(rows) else pytest.mark.slow for start in starts]
    chunks = [rows[start : start + ROWS] for start in starts]
    return [
        pytest.param(chunk, id=str(start), marks=mark)
        for chunk, start, mark in zip(chunks, starts, marks, strict=True)
    ]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("rows", parts(TRAINING))
def test_trainings(rows: list[Row]) -> None:
    found = surprises(rows, "train", train, refusal_of_training)
    assert not found, "\n".join(found)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("rows", parts(EVALUATION))
def test_evaluations(rows: list[Row]) -> None:
    found = surprises(rows, "eval", evaluate_model, refusal_of_evaluation)
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("rows", parts(ALL_SIZES))
def test_evaluations_of_all_sizes(rows: list[Row]) -> None:
    found = surprises(rows, "eval", evaluate_model, refusal_of_evaluation)
    assert not found, "\n".join(found)


def test_the_covers_hold_every_pair_and_more_than_refusals() -> None:
    for rows, refusal in ((TRAINING, refusal_of_training), (EVALUATION, refusal_of_evaluation)):
        for one in rows[0]:
            for other in rows[0]:
                pairs = {(row[one], row[other]) for row in rows}
                firsts, seconds = {a for a, _ in pairs}, {b for _, b in pairs}
                assert one == other or len(pairs) == len(firsts) * len(seconds)
        assert sum(refusal(row) is None for row in rows) > len(rows) / 6
