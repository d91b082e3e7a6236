"""A resumed run tells what is otherwise than before; what bends its training needs leave."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cast_exp.errors import UserError
from cast_exp.run import app
from cast_exp.run.changes import PLAN, RECORD, review_plan
from cast_exp.run.folder import checkpoints, run_folder, write_summary
from cast_exp.run.plan import Plan
from cast_exp.run.preflight import checked_command
from cast_exp.run.saved import Saved
from cast_exp.train import train

SMALL = ("experiment=shapes_moco", "debug=fast")


def leave_behind(folder: Path) -> None:
    """What a stopped run leaves, as far as is looked at here."""
    write_summary(folder, "interrupted")
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "last.ckpt").touch()


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Launches a command whose run does nothing but leave a folder."""
    monkeypatch.chdir(tmp_path)

    def run(_: object, __: object, folder: Path) -> int:
        leave_behind(folder)
        return 0

    monkeypatch.setattr(app, "run_job", run)
    monkeypatch.setattr(app, "_run_apart", lambda _, folder: run(None, None, folder))
    return lambda *words: [folder for folder, _ in app.launch(train, "train", words)]


def resume(folder: Path, *typed: str) -> list[str]:
    return checked_command([f"resume={folder}", *typed], "train", train)


def test_what_is_harmless_passes_and_is_told(
    launch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = launch(*SMALL)
    record = [{"packages": {"torch": "0.1"}}]
    (folder / RECORD).write_text(json.dumps(record))
    capsys.readouterr()
    resume(folder, "data.workers=1", "trainer.max_epochs=4", "trainer.max_steps=9", "name=other")
    told = capsys.readouterr().err
    for line in (
        "note: resumed with data.workers: 0 -> 1\n",
        "note: resumed with trainer.max_epochs: 1 -> 4\n",
        "note: resumed with trainer.max_steps: -1 -> 9\n",
        "note: resumed with torch 0.1 -> ",
    ):
        assert told.count(line) == 1
    resume(folder, "callbacks.pictures=null", "logger=tensorboard", "evaluate=[knn]")


CHANGES = {
    "data.batch_size=4": "data.batch_size: 8 -> 4",
    "trainer.accumulate_grad_batches=2": "trainer.accumulate_grad_batches: 1 -> 2",
    "optim.base_lr=0.5": "optim.base_lr: 0.002 -> 0.5",
    "task.momentum=0.5": "task.momentum: 0.9 -> 0.5",
    "seed=3": "seed: 0 -> 3",
    "precision=bf16": "trainer.precision: 32-true -> bf16-mixed",
    "+optim.schedule.start=0.5": "optim.schedule.start: (none) -> 0.5",
    "~optim.optimizer.eps": "optim.optimizer.eps: 1e-08 -> (none)",
    "model.drop_path=0.5": "model.drop_path: ",
}


def test_what_enters_the_training_needs_leave(
    launch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = launch(*SMALL)

    def content() -> dict[Path, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
        return {path: path.read_bytes() for path in files}

    before = content()
    with pytest.raises(UserError) as caught:
        resume(folder, *CHANGES, "trainer.max_epochs=9")
    told = str(caught.value)
    assert "resume_changes=accept" in told
    assert "\n" not in told
    assert told.count(" -> ") == len(CHANGES)  # neither what is harmless nor what refers to these
    assert content() == before
    resume(folder, *CHANGES, "resume_changes=accept")
    shown = capsys.readouterr().err
    for text in CHANGES.values():
        assert told.count(text) == 1
        assert shown.count(f"note: resumed with {text}") == 1


def test_leave_is_for_one_command(launch: Any) -> None:
    (folder,) = launch(*SMALL)
    launch(f"resume={folder}", "data.batch_size=4", "resume_changes=accept")
    assert "data.batch_size=4" in Saved.read(folder).overrides
    resume(folder)  # as it was last
    with pytest.raises(UserError, match=r"data\.batch_size: 4 -> 8;"):
        resume(folder, "data.batch_size=8")
    with pytest.raises(UserError, match="resume_changes"):
        resume(folder, "resume_changes=maybe")


def test_a_checkpoint_is_of_its_run_and_auto_finds_it(
    launch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = launch(*SMALL)
    file = folder / "checkpoints" / "last.ckpt"
    for given in (f"resume={file}", "resume=auto"):
        checked_command([*SMALL, given], "train", train)
        with pytest.raises(UserError, match=r"data\.batch_size: 8 -> 4;"):
            checked_command([*SMALL, given, "data.batch_size=4"], "train", train)
    file.unlink()  # nothing to go on with
    assert not checkpoints(folder)
    resume(folder, "data.batch_size=4")
    write_summary(folder, "interrupted")
    capsys.readouterr()
    run_folder.cache_clear()
    checked_command([*SMALL, "resume=auto", "data.batch_size=4"], "train", train)
    told = capsys.readouterr().err
    assert f"note: {folder} has no checkpoint to go on from: a new run begins\n" in told


@pytest.mark.slow
def test_jobs_of_a_multirun_are_each_compared(launch: Any) -> None:
    folders = launch("-m", *SMALL, "data.batch_size=4,2", "seed=1")
    sweep = folders[0].parent
    resume(sweep)
    write_summary(folders[1], "finished")
    with pytest.raises(UserError, match=r"0_data\.batch_size-4 has been trained"):
        resume(sweep, "task.momentum=0.5")
    write_summary(folders[0], "finished")
    resume(sweep, "task.momentum=0.5")


def test_damaged_and_hostile_folders_are_told_in_one_line(launch: Any) -> None:
    (folder,) = launch(*SMALL)
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    layers = ["a: &a0 [x, x]", *(f"b{n}: &a{n + 1} [*a{n}, *a{n}]" for n in range(60))]
    bomb = "\n".join([*layers, "seed: *a60"])
    for text in ("[", "7", yaml.safe_dump(saved | {"seed": "x\n" * 9**4}), bomb):
        (folder / "config.yaml").write_text(text)
        with pytest.raises(UserError) as caught:
            resume(folder)
        assert len(str(caught.value)) < 5000
        assert "\n" not in str(caught.value)


def test_other_data_need_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, more = (Plan(images, 1, 8, 8, 8, 0.1, 1, 1, 1) for images in (48, 50))
    review_plan(plan, tmp_path, None, "refuse")
    assert json.loads((tmp_path / PLAN).read_text())["images"] == 48
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    review_plan(plan, tmp_path, checkpoint, "refuse")
    with pytest.raises(UserError, match="48 -> 50 training images; add resume_changes=accept"):
        review_plan(more, tmp_path, checkpoint, "refuse")
    review_plan(more, tmp_path, None, "refuse")  # nothing has been trained
    review_plan(plan, tmp_path, checkpoint, "accept")
    assert "note: resumed with 50 -> 48 training images\n" in capsys.readouterr().err
    (tmp_path / PLAN).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        review_plan(plan, tmp_path, checkpoint, "refuse")
