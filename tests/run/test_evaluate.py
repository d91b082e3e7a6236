"""Evaluations at the end of a run."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from support.cli import SMALL, cast_train, runs

from cast_exp.errors import UserError
from cast_exp.run import run_evaluations
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
    for name in ("top1", "top5", "top1_best_rate", "knn"):
        assert 0 <= metrics[f"linear_probe/{name}"] <= 1
    # The best checkpoint is that of the only epoch, so kNN by cached features is the monitor's.
    assert metrics["linear_probe/knn"] == pytest.approx(metrics["val/knn"])
    assert (run / "linear_probe" / "metrics.csv").is_file()


def test_an_unknown_evaluation_is_reported_before_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cast_train(*SMALL, "evaluate=[probe]") == 2
    assert "probe is none of linear_probe" in capsys.readouterr().err


def test_a_failed_evaluation_takes_no_other_along(tmp_path: Path) -> None:
    assert cast_train(*SMALL, "trainer.max_epochs=1") == 0
    (run,) = runs()
    seen = []

    def fails(*_: object) -> dict[str, float]:
        raise RuntimeError("no luck")

    def counts(backbone: torch.nn.Module, *_: object) -> dict[str, float]:
        seen.append(sum(p.numel() for p in backbone.parameters()))
        return {"size": 1.0}

    trainer = Trainer(accelerator="cpu", logger=False)
    with pytest.raises(UserError, match="fails \\(no luck\\)"):
        run_evaluations({"fails": fails, "counts": counts}, None, trainer, run)
    assert len(seen) == 1
