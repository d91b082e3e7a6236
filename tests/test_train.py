import csv
import os
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from support.cli import SMALL, cast_train, runs

from cast_exp.run import app
from cast_exp.run.build import build
from cast_exp.run.folder import read_summary, write_summary
from cast_exp.run.job import run_job
from cast_exp.train import train

EVERY_STEP = ("callbacks.recent.every_n_train_steps=1", "callbacks.recent.save_top_k=-1")
BARE = (
    "callbacks.knn=null",
    "callbacks.best=null",
    "callbacks.pictures=null",
    "callbacks.model_table=null",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs from a working directory that is not the repository."""
    monkeypatch.chdir(tmp_path)


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    checkpoint = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return state


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


def test_a_run_leaves_what_is_needed_to_repeat_and_judge_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cast_train(*SMALL, "trainer.max_epochs=1", "name=first") == 0
    (run,) = runs()
    assert run.parent == Path("runs/first")
    summary = read_summary(run)
    assert summary["status"] == "finished"
    assert {"train/loss", "val/knn"} <= summary["metrics"].keys()
    for name in ("config.yaml", "run.json", "metrics.csv", "run.log", ".hydra/overrides.yaml"):
        assert (run / name).stat().st_size, name
    hyperparameters = (run / "hparams.yaml").read_text()
    assert "steps_per_epoch: 4" in hyperparameters
    output = capsys.readouterr().out
    assert "steps per epoch" in output
    assert "MoCoTask" in output


@pytest.mark.slow
def test_a_resumed_run_takes_keys_that_only_its_own_experiment_has() -> None:
    assert cast_train(*SMALL, *BARE, "trainer.max_epochs=2", "trainer.max_steps=4") == 0
    (run,) = runs()
    more = ("trainer.max_steps=8", "data.dataset.creatures=2")  # other data sets have no creatures
    assert cast_train(f"resume={run}", *more) == 2
    assert cast_train(f"resume={run}", *more, "resume_changes=accept") == 0
    assert len(runs()) == 1


def test_resumed_run_is_bit_identical_also_in_mid_epoch(tmp_path: Path) -> None:
    options = (*SMALL, *BARE, *EVERY_STEP, "trainer.max_epochs=2")
    assert cast_train(*options) == 0
    (straight,) = runs()

    for steps in (3, 4):  # within the first epoch, and between the two
        killed = tmp_path / f"killed{steps}"
        shutil.copytree(straight, killed)
        for checkpoint in (killed / "checkpoints").iterdir():
            if checkpoint.stem != f"step{steps:07d}":
                checkpoint.unlink()
        write_summary(killed, "running")  # what kill -9 leaves behind
        rows = (killed / "metrics.csv").read_text().splitlines()
        (killed / "metrics.csv").write_text("\n".join(rows[:4]) + "\n")

        assert cast_train(f"resume={killed}") == 0
        assert read_summary(killed)["status"] == "finished"
        assert same(weights(straight), weights(killed))
        assert not same(weights(straight), weights(straight, f"step{steps:07d}"))
        with open(killed / "metrics.csv", newline="") as file:
            steps_logged = [int(row["step"]) for row in csv.DictReader(file)]
        assert steps_logged[0] == 0  # the first part is still there
        assert steps_logged[-1] == 7


@pytest.mark.slow
def test_every_epoch_can_be_kept_also_by_a_run_that_goes_on() -> None:
    kept = ("callbacks.archive.every_n_epochs=1", "callbacks.pictures=null")
    assert cast_train(*SMALL, *kept, "trainer.max_epochs=2") == 0
    (run,) = runs()
    assert cast_train(f"resume={run}", "trainer.max_epochs=3") == 0
    states = [weights(run, f"epoch{epoch:04d}") for epoch in range(3)]
    assert same(states[2], weights(run))
    assert not same(states[0], states[1])
    assert not same(states[1], states[2])
    assert len(list((run / "checkpoints").glob("epoch*"))) == 3


@pytest.mark.slow
def test_auto_goes_on_in_the_folder_of_the_run_that_stopped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = (*SMALL, *BARE, *EVERY_STEP, "seed=3")
    assert cast_train(*options, "trainer.max_epochs=1") == 0
    (run,) = runs()
    write_summary(run, "interrupted")
    newest = run / "checkpoints" / "last.ckpt"
    newest.write_bytes(newest.read_bytes()[:1000])
    os.utime(newest)
    assert cast_train(*SMALL, "resume=auto", "trainer.max_epochs=2") == 0
    assert "last.ckpt cannot be read" in capsys.readouterr().err
    assert runs() == [run]
    assert "seed: 3" in (run / "config.yaml").read_text()  # as the run was started
    assert read_summary(run)["status"] == "finished"

    assert cast_train(*SMALL, *BARE, "resume=auto", "trainer.max_epochs=1") == 0
    assert len(runs()) == 2  # nothing was left unfinished


@pytest.mark.slow
def test_checkpoint_of_another_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cast_train(*SMALL, *BARE, "trainer.max_steps=1") == 0
    (run,) = runs()
    assert cast_train(f"resume={run}", "task.projection_dim=8", "resume_changes=accept") == 2
    error = capsys.readouterr().err
    assert "another model" in error
    assert "of another shape: projector" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["experiment=shape_moco"], "there is no such experiment; did you mean shapes_moco?"),
        (["data.bach_size=3"], "did you mean data.batch_size or"),
        (["+data.bach_size=3"], "ImageDataModule has no such option; did you mean batch_size or"),
        (["data.batch_size=0"], "data.batch_size=0: should be greater than or equal to 1"),
        (["data.batch_size=3", "strategy=ddp_cpu"], "cannot be shared by 2"),
        (["data.batch_size=33"], "more than the 32 training images"),
        (["strategy=ddp", "trainer.devices=64"], "trainer.devices=64: this machine has"),
        (["strategy=ddp_cpu", "trainer.devices=512"], "trainer.devices=512: this machine has"),
        (["trainer.devices=2"], "strategy=single has one device"),
        (["seed=0,1"], "add -m"),
        (["resume=nothing/here"], "resume=nothing/here does not exist"),
        (["experiment=in1k_moco", "data.root=/not/there"], "/not/there"),
        (["experiment=in1k_moco"], "data.root"),
        (["trainer.max_epochs=-1"], "trainer.max_epochs"),
        (
            ["experiment=voc_retrieval", "data.root=."],
            "voc_retrieval trains nothing; python -m cast_exp.eval",
        ),
    ],
)
def test_mistakes_are_told_in_one_message(
    overrides: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = () if overrides[0].startswith("experiment") else SMALL
    assert cast_train(*given, *BARE, *overrides) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "error: " in error
    assert "Traceback" not in error
    assert not runs()


def test_data_are_opened_before_a_model_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr("cast_exp.train.build", lambda node: built.append(node) or build(node))
    assert cast_train("experiment=in1k_moco", "data.root=/not/there") == 2
    assert [node["_target_"].rpartition(".")[2] for node in built] == ["ImageDataModule"]


def test_all_mistakes_at_once_and_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ("seed=x", "data.batch_size=0", "+task.temprature=1", "optim.base_lr=-1")
    assert cast_train(*SMALL, *wrong) == 2
    error = capsys.readouterr().err
    assert "4 mistakes" in error
    for word in ("seed=x", "data.batch_size=0", "did you mean temperature?", "optim.base_lr=-1"):
        assert word in error
    assert not Path("runs").exists()


@pytest.mark.slow
def test_multirun_outlives_a_failing_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def here(module: str, folder: Path) -> int:
        assert module == "cast_exp.train"
        config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        return run_job(train, config, folder)  # type: ignore[arg-type]

    monkeypatch.setattr(app, "_run_apart", here)
    assert cast_train("-m", *SMALL, *BARE, "trainer.max_steps=1", "data.dataset.train=8,7,9") == 2
    (sweep,) = Path("runs/shapes_moco").iterdir()
    jobs = sorted(path.name for path in sweep.iterdir() if path.is_dir())
    assert jobs == [f"{n}_data.dataset.train-{size}" for n, size in enumerate((8, 7, 9))]
    with open(sweep / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished", "failed", "finished"]
    assert "more than the 7 training images" in rows[1]["error"]
    assert (sweep / "summary.png").exists()
    assert "2 of 3 jobs finished" in capsys.readouterr().out

    # Going on runs what has not finished, with the overrides of the command on top.
    finished = (sweep / jobs[0] / "summary.json").stat().st_mtime_ns
    assert cast_train(f"resume={sweep}", "data.batch_size=4") == 0
    assert (sweep / jobs[0] / "summary.json").stat().st_mtime_ns == finished
    assert read_summary(sweep)["status"] == "finished"
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == jobs


@pytest.mark.slow
def test_jobs_of_a_multirun_share_a_group_in_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_run_apart", lambda module, folder: 0)
    assert cast_train("-m", *SMALL, "seed=0,1", "logger=wandb") == 0
    first, second = (OmegaConf.load(run / "config.yaml") for run in runs())
    assert first.logger.wandb.group == second.logger.wandb.group == runs()[0].parent.name


def test_mistake_in_the_last_job_shows_before_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cast_train("-m", *SMALL, "seed=0,1", "data.batch_size=8,0") == 2
    error = capsys.readouterr().err
    assert "data.batch_size=0: should be greater than or equal to 1  (with " in error
    assert not Path("runs").exists()


TOYS = ("task._target_=support.toys.explode", "plugins=[support]")


def test_unexpected_error_keeps_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    # Nothing that a user can do about a target that fails in a way nobody thought of.
    assert cast_train(*SMALL, *BARE, "~task.seed", *TOYS) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "boom" in error
    (run,) = runs()
    summary = read_summary(run)
    assert summary["status"] == "failed"
    assert "boom" in summary["error"]
