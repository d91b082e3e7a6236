"""Evaluations at the end of a run."""

from pathlib import Path

import pytest
from support.cli import SMALL, cast_train, runs
from support.probe_run import images
from support.trainers import make_trainer

from cast_exp.errors import UserError
from cast_exp.evaluation import BaseEvaluation, MakeTrainer, Subject
from cast_exp.models import create_model
from cast_exp.run.evaluate import run_evaluations
from cast_exp.run.folder import read_summary

PROBE = ("evaluate=[linear_probe]", "evaluation.linear_probe.epochs=2")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("model", [(), ("model=vit_tiny",), ("model=tome_tiny",)])
def test_a_pretrained_backbone_is_probed_at_the_end(model: tuple[str, ...]) -> None:
    settings = [text for text in SMALL if not (model and text.startswith(("model.", "pooling.")))]
    assert cast_train(*settings, *model, *PROBE, "trainer.max_epochs=1") == 0
    (run,) = runs()
    metrics = read_summary(run)["metrics"]
    for name in ("cached_top1", "cached_top5", "cached_top1_best_rate", "knn"):
        assert 0 <= metrics[f"linear_probe/{name}"] <= 1
    # The best checkpoint is that of the only epoch, so kNN by cached features is the monitor's.
    assert metrics["linear_probe/knn"] == pytest.approx(metrics["val/knn"])
    assert (run / "linear_probe" / "metrics.csv").is_file()


def test_an_unknown_evaluation_is_reported_before_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cast_train(*SMALL, "evaluate=[probe]") == 2
    assert "probe is none of knn" in capsys.readouterr().err


class Sizes(BaseEvaluation):
    """Counts parameters; some are not to be had."""

    headline = ("size",)

    def __init__(self) -> None:
        super().__init__(images())

    def check(self, subject: Subject | None = None) -> None:
        """Nothing to look for."""

    def evaluate(
        self, make_trainer: MakeTrainer, subject: Subject, folder: Path
    ) -> dict[str, float]:
        size = 1.0 * sum(p.numel() for p in subject.backbone.parameters())
        return {"size": size, "undefined": float("nan")}


class Unlucky(Sizes):
    """Never succeeds."""

    def evaluate(
        self, make_trainer: MakeTrainer, subject: Subject, folder: Path
    ) -> dict[str, float]:
        raise RuntimeError("no luck")


def test_a_failed_evaluation_takes_no_other_along(tmp_path: Path) -> None:
    subject = Subject(create_model("cast_tiny"))
    both = {"": subject, "untrained": subject.untrained(0)}
    with pytest.raises(UserError, match=r"unlucky \(no luck\); untrained/unlucky \(no luck\)"):
        run_evaluations({"unlucky": Unlucky(), "sizes": Sizes()}, both, make_trainer, tmp_path)
    folder = tmp_path / "alone"
    alone = run_evaluations({"sizes": Sizes()}, {"": subject}, make_trainer, folder)
    assert alone.keys() == {"sizes/size"}
    (row,) = (tmp_path / "evaluations.md").read_text().splitlines()[2:]
    size = 100 * sum(p.numel() for p in subject.backbone.parameters())
    assert row == f"| sizes size | {size:.1f} | {size:.1f} |"
