"""`python -m cast_exp.eval`, and the evaluations that a training ends with."""

import json
from pathlib import Path

import pytest
from support.cli import SMALL, cast_eval, cast_train, runs

from cast_exp.download.records import digest_of
from cast_exp.run.folder import read_summary

MODEL = tuple(text for text in SMALL if text.startswith(("model.", "pooling.")))
DATA = tuple(text for text in SMALL if text.startswith(("experiment", "data.", "superpixel")))
BOTH = ("evaluate=[knn,linear_probe]", "evaluation.linear_probe.epochs=2")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_ends_with_its_evaluations_and_they_can_be_had_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cast_train(*SMALL, *BOTH, "evaluate_untrained=true", "trainer.max_epochs=1") == 0
    (run,) = runs()
    metrics = read_summary(run)["metrics"]
    assert metrics["knn/top1"] == pytest.approx(metrics["val/knn"])  # of the only epoch
    assert 0 <= metrics["untrained/linear_probe/cached_top1"] <= 1
    table = (run / "evaluations.md").read_text().splitlines()
    assert table[0] == "| % | trained | untrained |"
    assert f"| knn top1 | {100 * metrics['knn/top1']:.1f} |" in table[2]

    assert cast_eval(f"run={run}", *BOTH) == 0
    (again,) = runs(run / "eval")
    assert again.name.startswith("shapes_moco-")
    found = read_summary(again)["metrics"]
    assert found == {name: pytest.approx(metrics[name]) for name in found}
    assert {"knn/top1", "linear_probe/cached_top1"} <= found.keys()
    card = json.loads((again / "card.json").read_text())
    assert card["weights"]["run"] == str(run.resolve())
    assert card["weights"]["sha256"] == digest_of(run / "checkpoints" / "best.ckpt")
    assert card["weights"]["which"] == "trained"
    assert [part["images"] for part in card["data"]["knn"]] == [32, 16]
    assert card["model"]["levels"] == [8, 4]


def test_an_untrained_model_is_evaluated_without_weights() -> None:
    assert cast_eval(*DATA, *MODEL, "model=cast_tiny", "evaluate=[knn]") == 0
    (run,) = runs()
    assert run.parent == Path("runs/eval/shapes_moco")
    assert 0 <= read_summary(run)["metrics"]["knn/top1"] <= 1
    assert (run / "evaluations.md").read_text().splitlines()[0] == "| % | untrained |"
    assert json.loads((run / "card.json").read_text())["weights"]["checkpoint"] is None


def test_data_are_opened_before_weights_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cast_exp.eval.build", lambda _: pytest.fail("the model is built"))
    given = ("experiment=bsds500_hierarchy", "model=cast_tiny", "pooling.levels=[8,4]")
    assert cast_eval(*given, "data.root=/not/there") == 2


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ((*DATA, *MODEL, "evaluate=[]"), "nothing to evaluate; set evaluate to some of [knn"),
        ((*DATA, *MODEL, "evaluate=[nn]"), "nn is none of knn"),
        ((*DATA, "checkpoint=none.ckpt", "evaluate=[knn]"), "no checkpoint at none.ckpt"),
        (("evaluate=[knn]",), "should be set with checkpoint="),
        (("run=nowhere", "evaluate=[knn]"), "run=nowhere is not the folder of a run"),
        ((*DATA, "chekpoint=a"), "did you mean checkpoint?"),
        (
            (*DATA, *MODEL, "model=cast_tiny", "evaluate=[knn]", "evaluate_untrained=true"),
            "but there is no checkpoint",
        ),
    ],
)
def test_mistakes(
    command: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cast_eval(*command) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (("model.fusion=false", "task.readout=cls", "evaluate=[retrieval]"), "no fusion block"),
        (("evaluate=[retrieval]", "evaluation.retrieval.level=7"), "levels 0 to 2"),
        (
            ("evaluate=[hierarchy]", "evaluation.hierarchy.levels=[9,8,7]"),
            "3 levels were asked for",
        ),
        (("evaluate=[figure_ground]", "evaluation.figure_ground.block=9"), "block"),
        (("evaluate=[retrieval]", "data@scenes=camvid", "scenes.root=nowhere"), "nowhere"),
        (("evaluate=[knn]", "model.fusion=false"), "fusion"),
    ],
)
def test_what_cannot_be_evaluated_shows_before_training(
    settings: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cast_train(*SMALL, *settings) == 2
    assert complaint in capsys.readouterr().err
    assert not runs()
