import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

wandb = pytest.importorskip("wandb")

from support.wandb_files import OfflineRun  # noqa: E402
from support.wandb_server import wandb_server  # noqa: E402

from cast_exp.callbacks import HierarchyImages  # noqa: E402
from cast_exp.errors import UserError  # noqa: E402
from cast_exp.loggers import end_wandb, wandb_logger  # noqa: E402
from cast_exp.loggers.wandb_run import Artifacts, known_run_id, sync_command  # noqa: E402

DIGEST = "ab" * 32


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B keeps what it has of its own in the folder of the test, and no run is left open."""
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()
    yield
    end_wandb(0)
    wandb.teardown()


def test_offline_has_curves_and_pictures_with_masks(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    logger = wandb_logger(folder, group="sweep", tags=["a", "b" * 90], offline=True)
    trainer = tiny_trainer(folder, HierarchyImages(count=1), logger=logger)
    trainer.fit(TinyTask(), datamodule=tiny_data())
    end_wandb(0)
    kept = OfflineRun(folder)
    assert (kept.run.run_group, kept.run.display_name) == ("sweep", "job")
    assert list(kept.run.tags) == ["a", "b" * 64]
    assert kept.run.run_id == known_run_id(folder)
    assert kept.summary["train/loss"] > 0
    assert kept.summary["hierarchy"]["count"] == 1
    (masks,) = kept.summary["masks"]["all_masks"]
    assert sorted(masks) == ["head 1", "head 2", "head 3", "level 1", "level 2"]
    media = kept.folders[0] / "files"
    assert all((media / mask["path"]).is_file() for mask in masks.values())


def test_a_resumed_offline_run_goes_on_at_its_step(tmp_path: Path) -> None:
    first = wandb_logger(tmp_path, offline=True)
    for step in range(4):
        first.log_metrics({"train/loss": 4.0 - step}, step)
    end_wandb(1)
    second = wandb_logger(tmp_path, offline=True)
    second.log_metrics({"train/loss": 0.5}, 4)
    second.log_metrics({"val/knn": 0.3}, 2)  # what is late joins the row that is reached
    second.log_metrics({"knn/top1": 0.4})
    end_wandb(0)
    kept = OfflineRun(tmp_path)
    assert len(kept.folders) == 2
    assert [(row["_step"], row["trainer/global_step"]) for row in kept.history] == [
        (step, step) for step in range(5)
    ]
    assert (kept.history[4]["val/knn"], kept.history[4]["knn/top1"]) == (0.3, 0.4)
    assert len({record.run.run_id for record in kept.records if record.HasField("run")}) == 1


@pytest.mark.slow
def test_both_folders_of_a_resumed_run_are_uploaded_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wandb_server(monkeypatch) as server:
        for steps in (range(4), range(4, 7)):
            logger = wandb_logger(tmp_path, offline=True)
            for step in steps:
                logger.log_metrics({"train/loss": 7.0 - step}, step)
            end_wandb(0)
        (tmp_path / "best.ckpt").write_bytes(b"weights")
        last = wandb_logger(tmp_path, offline=True)
        last.log_checkpoint(tmp_path / "best.ckpt", DIGEST, {})
        end_wandb(0)
        run = OfflineRun(tmp_path)
        command = [sys.executable, "-m", "wandb", "sync", *map(str, run.folders)]
        subprocess.run(command, check=True, capture_output=True, timeout=100)
    name = run.run.run_id
    assert {number: row["_step"] for number, row in server.history[name].items()} == {
        number: number for number in range(7)
    }
    assert [*server.artifacts] == [f"model-{name}"]
    assert not server.unknown


def test_a_run_of_a_wandb_sweep_has_the_id_that_its_agent_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "ofagent1")
    wandb_logger(tmp_path / "alone", offline=True)
    end_wandb(0)
    assert known_run_id(tmp_path / "alone") != "ofagent1"
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    wandb_logger(tmp_path / "swept", offline=True)
    end_wandb(0)
    assert OfflineRun(tmp_path / "swept").run.run_id == "ofagent1"
    assert known_run_id(tmp_path / "swept") == "ofagent1"


def test_tables_have_numbers_and_are_no_larger_than_can_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "per_class.csv").write_text("class,iou\ndog,0.5\ncat,\n")
    (tmp_path / "confusion.csv").write_text("a,b\n" + "1,2\n" * 60_000)
    logger = wandb_logger(tmp_path, offline=True)
    logger.log_csv("segmentation/per_class", tmp_path / "per_class.csv", 7)
    logger.log_csv("segmentation/confusion", tmp_path / "confusion.csv", 7)
    end_wandb(0)
    kept = OfflineRun(tmp_path)
    (table,) = (value for key, value in kept.summary.items() if key.startswith("segmentation/"))
    (file,) = kept.folders[0].rglob("per_class*.table.json")
    assert json.loads(file.read_text())["data"] == [["dog", 0.5], ["cat", None]]
    assert table["nrows"] == 2


@pytest.mark.parametrize("how", ["upload", "reference", "none"])
def test_the_checkpoint_is_an_artifact_that_is_found_by_its_digest(
    how: Artifacts, tmp_path: Path
) -> None:
    path = tmp_path / "best.ckpt"
    path.write_bytes(b"weights")
    logger = wandb_logger(tmp_path, offline=True, artifacts=how)
    name = f"model-{known_run_id(tmp_path)}"
    logger.log_checkpoint(path, DIGEST, {"steps": 9})
    logger.use_checkpoint("cast_exp/model-0", DIGEST)  # offline that is for later
    end_wandb(0)
    kept = OfflineRun(tmp_path)
    assert kept.summary["artifact/name"] == name
    assert kept.summary["artifact/sha256"] == DIGEST
    assert len(kept.artifacts) == (how != "none")
    for artifact in kept.artifacts:
        assert (artifact.name, artifact.type) == (name, "model")
        assert {"best", "sha256-" + DIGEST[:16]} <= set(artifact.aliases)
        (entry,) = artifact.manifest.contents
        assert entry.path == "best.ckpt"
        assert bool(entry.ref) == (how == "reference")


def test_runs_are_linked_by_what_one_makes_and_another_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {}
    with wandb_server(monkeypatch) as server:
        for name in ("pretraining", "probe"):
            logger = wandb_logger(tmp_path / name, job_type=name)
            ids[name] = logger.experiment.id
            if name == "pretraining":
                path = tmp_path / name / "best.ckpt"
                path.write_bytes(b"weights")
                logger.log_checkpoint(path, DIGEST, {})
            else:
                logger.use_checkpoint(f"cast_exp/model-{ids['pretraining']}", "0" * 64)
                logger.use_checkpoint(f"cast_exp/model-{ids['pretraining']}", DIGEST)
            logger.log_metrics({"train/loss": 1.0}, 5)
            end_wandb(0)
    artifact = f"model-{ids['pretraining']}"
    assert [len(found) for found in server.artifacts.values()] == [1]
    assert server.used == {(ids["probe"], f"{artifact}:v0")}
    assert server.runs[ids["probe"]]["jobType"] == "probe"
    assert server.history[ids["probe"]][0]["_step"] == 5


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        ("permission denied", r"correct the entity and the project, nobody/cast_exp, or set"),
        ("dial tcp: connection refused", r"W&B cannot be reached.*set WANDB_MODE=offline"),
        ("API key verification failed", r"run `wandb login`, or set WANDB_MODE=offline"),
    ],
)
def test_a_run_that_does_not_start_says_what_to_do(
    refusal: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wandb_server(monkeypatch) as server:
        server.refused["upsertBucket"] = refusal
        with pytest.raises(UserError, match=advice) as raised:
            wandb_logger(tmp_path, entity="nobody")
    assert "\n" not in str(raised.value)


def test_without_an_account_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"wandb login"):
        wandb_logger(tmp_path)


def test_the_end_of_an_offline_run_says_how_to_upload_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "a run"
    wandb_logger(folder, offline=True)
    with caplog.at_level(logging.INFO):
        end_wandb(0)
        end_wandb(0)  # there is none
    said = [record.message for record in caplog.records if record.name.startswith("cast_exp")]
    assert said == [f"W&B: upload this run with: wandb sync '{folder}'/wandb/offline-run-*"]
    (tmp_path / "theirs").mkdir()
    with wandb.init(mode="offline", dir=tmp_path / "theirs") as theirs:
        end_wandb(0)  # not ours
        assert wandb.run is theirs
    assert sync_command(tmp_path / "theirs" / "wandb") is None
    assert sync_command(tmp_path) == f"wandb sync {tmp_path}/*/wandb/offline-run-*"
