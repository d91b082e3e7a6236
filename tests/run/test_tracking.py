from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from support.cli import SMALL, cast_eval, cast_train, runs
from support.run_folders import picture

from cast_exp.checkpoints.files import best_weights
from cast_exp.download.records import digest_of
from cast_exp.run.tracking import log_evaluations, log_start
from cast_exp.viz.layers import Layers

wandb = pytest.importorskip("wandb")

from support.wandb_files import OfflineRun  # noqa: E402

from cast_exp.loggers import end_wandb, wandb_logger  # noqa: E402


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    wandb.teardown()
    yield
    end_wandb(0)
    wandb.teardown()


def test_an_evaluation_is_built_on_the_artifact_of_a_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bare = ("callbacks.pictures=null", "callbacks.model_table=null", "trainer.max_epochs=1")
    assert cast_train(*SMALL, *bare, "name=first", "logger=wandb") == 0
    (run,) = runs()
    assert f"wandb sync {run.resolve()}/wandb/offline-run-*" in capsys.readouterr().err
    trained = OfflineRun(run)
    assert trained.run.job_type == "pretrain"
    assert list(trained.run.tags) == ["shapes_moco", "cast_tiny", "graph_16_8_4"]
    assert trained.config["superpixel"] == "grid"
    assert trained.config["settings"]["superpixel"]["count"] == 16
    assert trained.config["plan"]["effective_batch_size"] == 8
    assert "evaluation" not in trained.config["settings"]
    assert [row["_step"] for row in trained.history] == [0, 1, 2, 3]
    (artifact,) = trained.artifacts
    best = best_weights(run)
    digest = digest_of(best)
    assert trained.summary["artifact/sha256"] == digest

    assert cast_eval(f"run={run}", "evaluate=[knn]", "logger=wandb") == 0
    evaluated = OfflineRun(next((run / "eval").iterdir()))
    assert evaluated.run.job_type == "eval"
    source = {
        "checkpoint": str(best.resolve()),
        "name": run.name,
        "sha256": digest,
        "artifact": f"cast_exp/{artifact.name}",
    }
    assert source.items() <= evaluated.config["source"].items()
    assert evaluated.summary["source/sha256"] == digest
    assert evaluated.summary["knn/top1"] >= 0
    (file,) = evaluated.folders[0].rglob("evaluations*.table.json")
    assert '"knn"' in file.read_text()


def test_evaluations_leave_tables_pictures_and_masks(tmp_path: Path) -> None:
    place = tmp_path / "untrained/segmentation"
    image = np.zeros((40, 60, 3), np.uint8)
    for number in range(20):
        picture(place / f"pictures/{number:05d}.png")
        layers = Layers.of_levels(image, {"level 1": image[..., 0]})
        layers.save(place / f"pictures/{number:05d}.npz")
    picture(place / "confusion.png")
    (place / "per_class.csv").write_text("class,iou\ndog,0.5\n")
    logger = wandb_logger(tmp_path)
    figures = {"untrained/segmentation/miou": 0.5, "untrained/segmentation/miou/level1": 0.25}
    log_evaluations([logger], figures, tmp_path, 7)
    end_wandb(0)
    kept = OfflineRun(tmp_path)
    assert [row["_step"] for row in kept.history] == [7]
    assert figures.items() <= kept.summary.items()
    assert kept.summary["untrained/segmentation/confusion"]["count"] == 1
    assert kept.summary["untrained/segmentation"]["count"] == 16
    assert kept.summary["untrained/segmentation/per_class"]["nrows"] == 1
    assert kept.summary["evaluations"]["nrows"] == 2
    masks = kept.summary["untrained/segmentation/masks"]["all_masks"]
    assert [sorted(each) for each in masks] == [["level 1"]] * 16


def test_other_loggers_get_the_whole_config_and_the_figures(tmp_path: Path) -> None:
    other, lightnings = Mock(spec=CSVLogger), Mock(spec=WandbLogger)
    config = {"seed": 1, "plan": {"steps": 4}}
    log_start([other, lightnings], tmp_path, config, None, "trained")
    log_evaluations([other], {"knn/top1": 0.5}, tmp_path, 7)
    other.log_hyperparams.assert_called_once_with(config)
    lightnings.log_hyperparams.assert_called_once_with(config)
    other.log_metrics.assert_called_once_with({"knn/top1": 0.5}, step=7)


def test_only_the_first_process_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    logger = Mock(spec=CSVLogger)
    log_start([logger], tmp_path, {}, None, "trained")
    log_evaluations([logger], {"knn/top1": 0.5}, tmp_path)
    assert not logger.mock_calls
