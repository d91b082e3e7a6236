"""What may be deleted, and what not."""

import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.run_folders import run_folder

from cast_exp.errors import UserError
from cast_exp.run.folder import sole_writer
from cast_exp.run.record import RunRecord, find_runs
from cast_exp.run.superseded import settings_of, size, superseded

CONFIG = {"seed": 0, "model": {"dim": 24, "heads": "${seed}"}, "resume": None}


def a_run(folder: Path, status: str, *checkpoints: str, **config: Any) -> Path:
    run = run_folder(folder, status=status, config={"seed": 9})
    (run / ".hydra" / "config.yaml").write_text(yaml.safe_dump(CONFIG | config))
    (run / "checkpoints").mkdir()
    for name in checkpoints:
        (run / "checkpoints" / name).write_bytes(b"x" * 1000)
    time.sleep(0.01)  # they are ordered by time
    return run


def found(place: Path) -> list[str]:
    records = [RunRecord.read(folder) for folder in find_runs([place])]
    return [str(each.path.relative_to(place)) for each in superseded(records)]


def test_a_run_that_was_done_again_goes_but_for_what_rests_on_it(tmp_path: Path) -> None:
    moco = tmp_path / "moco"
    for name, status in (("0", "failed"), ("1", "interrupted"), ("2", "running")):
        a_run(moco / name, status)
    a_run(moco / "3", "failed", seed=1)  # another config, not done again
    a_run(moco / "4", "failed", resume="auto")
    a_run(moco / "5", "interrupted", "last.ckpt")  # others begin from it
    run_folder(a_run(moco / "6", "failed") / "eval" / "knn", kind="eval")
    a_run(tmp_path / "sweep" / "0_seed-0", "failed")
    (tmp_path / "sweep" / "multirun.yaml").touch()
    a_run(tmp_path / "search" / "0_seed-0", "failed")
    (tmp_path / "search" / "search.json").touch()
    assert found(tmp_path) == []
    a_run(moco / "7", "finished")
    a_run(moco / "8", "failed")  # newer
    a_run(tmp_path / "probe", "finished", checkpoint="/elsewhere/moco/5/checkpoints/last.ckpt")
    assert found(tmp_path) == ["moco/0", "moco/1", "moco/2", "moco/4"]


def test_of_a_finished_run_the_steps_go_if_the_last_is_there(tmp_path: Path) -> None:
    names = ("step0001000.ckpt", "step0002000.ckpt", "best.ckpt", "epoch0049.ckpt")
    a_run(tmp_path / "whole", "finished", *names, "last.ckpt")
    a_run(tmp_path / "torn", "finished", *names)
    a_run(tmp_path / "going", "running", *names, "last.ckpt", seed=3)
    steps = [f"whole/checkpoints/{name}" for name in names[:2]]
    assert found(tmp_path) == steps


def test_what_is_at_work_stays_and_the_rest_is_deleted(tmp_path: Path) -> None:
    old = a_run(tmp_path / "old", "running", "last.ckpt")
    a_run(tmp_path / "new", "finished")
    records = [RunRecord.read(folder) for folder in find_runs([tmp_path])]
    (old_one,) = superseded(records)
    assert (old_one.path, old_one.reason) == (
        old,
        f"killed?; {tmp_path.name}/new has finished since",
    )
    assert size(old) > 1000
    context = multiprocessing.get_context("fork")
    ready, over = context.Event(), context.Event()

    def work() -> None:
        with sole_writer(old):
            ready.set()
            over.wait(30)

    process = context.Process(target=work)
    process.start()
    assert ready.wait(30)
    assert superseded(records) == []
    with pytest.raises(UserError, match="is in use"):
        old_one.delete()
    assert old.is_dir()
    over.set()
    process.join(30)
    old_one.delete()
    assert not old.exists()


def test_settings_are_as_they_were_written(tmp_path: Path) -> None:
    record = RunRecord.read(a_run(tmp_path / "a", "finished"))
    assert settings_of(record) == {"seed": 0, "model.dim": 24, "model.heads": "${seed}"}
    (tmp_path / "a" / ".hydra" / "config.yaml").unlink()
    assert settings_of(record) == {"seed": 9}
