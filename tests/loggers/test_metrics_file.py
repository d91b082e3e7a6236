import csv
import errno
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks import HierarchyImages
from cast_exp.errors import UserError
from cast_exp.loggers import MetricsFile, tensorboard_logger, wandb_logger


def read(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_resumed_run_continues_its_metrics_file(tmp_path: Path) -> None:
    first = MetricsFile(tmp_path)
    first.log_metrics({"loss": 1.0}, step=0)
    first.log_metrics({"loss": 0.5, "knn": 0.2}, step=1)
    first.finalize("failed")
    second = MetricsFile(tmp_path)
    second.log_metrics({"loss": 0.25, "knn": 0.3}, step=2)
    second.save()
    second.log_metrics({"new": 7.0}, step=3)
    second.finalize("success")
    rows = read(tmp_path)
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["loss"] for row in rows] == ["1.0", "0.5", "0.25", ""]
    assert [row["knn"] for row in rows] == ["", "0.2", "0.3", ""]
    assert rows[3]["new"] == "7.0"


@pytest.mark.parametrize("left", [-3, 5, 0])  # of the last row, of the header, nothing
def test_what_a_kill_has_cut_off_is_not_gone_on_with(left: int, tmp_path: Path) -> None:
    first = MetricsFile(tmp_path)
    for step in range(2):
        first.log_metrics({"loss": 1.5}, step)
    first.save()
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:left])
    second = MetricsFile(tmp_path)
    second.log_metrics({"loss": 2.5, "knn": 0.5}, step=2)
    second.save()
    rows = read(tmp_path)
    assert [(row["step"], row["loss"]) for row in rows] == [("0", "1.5")] * (left < 0) + [
        ("2", "2.5")
    ]


def test_new_columns_do_not_put_the_old_rows_at_risk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = MetricsFile(tmp_path)
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.save()
    former = (tmp_path / "metrics.csv").read_text()
    logger.log_metrics({"knn": 0.5}, step=1)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match=r"metrics\.csv cannot be written: no space left"):
        logger.save()
    assert (tmp_path / "metrics.csv").read_text() == former


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "no space")


def test_rows_reach_the_disk_before_the_end(tmp_path: Path) -> None:
    logger = MetricsFile(tmp_path, flush_logs_every_n_steps=2)
    for step in range(3):
        logger.log_metrics({"loss": float(step)}, step)
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize("make", [wandb_logger, tensorboard_logger])
def test_a_missing_package_is_named(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cast_exp.loggers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'cast-exp\[(wandb|tensorboard)\]'"):
        make(tmp_path)


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_offline_keeps_config_curves_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    ids = []
    for job in (0, 1):
        folder = tmp_path / f"job{job}"
        logger = wandb_logger(folder, group="sweep", tags=["a"])
        run = logger.experiment
        ids.append(run.id)
        assert (run.group, run.name, run.tags) == ("sweep", f"job{job}", ("a",))
        logger.log_hyperparams({"seed": job, "model": {"dim": 8}})
        assert run.config["model"] == {"dim": 8}
        trainer = tiny_trainer(folder, HierarchyImages(count=1), logger=logger)
        trainer.fit(TinyTask(), datamodule=tiny_data())
        assert run.summary["train/loss"] > 0
        assert run.summary["hierarchy"]["count"] == 1
        (offline,) = (folder / "wandb").glob("offline-run-*")
        images = offline / "files/media/images"
        for key in ("hierarchy", "figure_ground", "masks"):
            assert len(list(images.glob(f"{key}_*.png"))) == 2  # at the start and at the end
        (masks,) = run.summary["masks"]["all_masks"]
        assert sorted(masks) == ["head 1", "head 2", "head 3", "level 1", "level 2"]
        assert all((offline / "files" / mask["path"]).is_file() for mask in masks.values())
        wandb.finish()
    assert ids[0] != ids[1]

    resumed = wandb_logger(tmp_path / "job0", group="sweep")
    assert resumed.experiment.id == ids[0]
    wandb.finish()


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_that_does_not_start_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    def refuse(**_):
        raise wandb.errors.UsageError("No API key configured")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(UserError, match=r"No API key configured.*wandb login"):
        wandb_logger(tmp_path)
