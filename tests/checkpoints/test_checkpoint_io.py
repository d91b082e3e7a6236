"""Checkpoints of which one can be read at any moment."""

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from cast_exp.checkpoints.checkpoint_io import CheckpointIO
from cast_exp.run.resume import checkpoint_to_resume

KILLS = 50


def saved(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded_and_the_temporary_folder_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    path = tmp_path / "new" / "last.ckpt"
    for step in range(2):
        content = {"state_dict": {"weight": torch.randn(3, 2)}, "global_step": step}
        CheckpointIO().save_checkpoint(content, path)
        found = CheckpointIO().load_checkpoint(path, weights_only=True)
        assert found["global_step"] == step
        assert torch.equal(found["state_dict"]["weight"], content["state_dict"]["weight"])
    assert saved(path.parent) == ["last.ckpt"]


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: content[::-1]])
def test_what_does_not_read_back_leaves_the_former_file(
    damage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    CheckpointIO().save_checkpoint({"step": 1}, path)
    save = torch.save

    def damaged(content, file) -> None:
        save(content, file)
        written = Path(file.name).read_bytes() or path.read_bytes()
        file.seek(0)
        file.truncate()
        file.write(damage(written))

    monkeypatch.setattr(torch, "save", damaged)
    with pytest.raises(Exception, match="zip"):
        CheckpointIO().save_checkpoint({"step": 2}, path)
    assert torch.load(path) == {"step": 1}
    assert saved(tmp_path) == ["last.ckpt"]


def test_a_url_is_left_to_lightning() -> None:
    CheckpointIO().save_checkpoint({"step": 1}, "memory://folder/last.ckpt")
    assert CheckpointIO().load_checkpoint("memory://folder/last.ckpt") == {"step": 1}


@pytest.mark.faults
def test_kills_while_a_checkpoint_is_written_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary folder is on another file system, where there is one."""
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir=other) as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        path, module = tmp_path / "checkpoints" / "last.ckpt", nn.Linear(1000, 4000)
        content = {"state_dict": module.state_dict(), "global_step": 0}
        CheckpointIO().save_checkpoint(content, path)
        start = time.monotonic()
        CheckpointIO().save_checkpoint(content, path)
        seconds, draw, in_writing = time.monotonic() - start, random.Random(0), 0
        for _ in range(KILLS):
            in_writing += killed(content, path, draw.uniform(0, 3 * seconds))
            assert checkpoint_to_resume(tmp_path, "auto", module) == path
        assert in_writing > KILLS / 2, "most kills were to come in the middle of a file"


def killed(content: dict[str, object], path: Path, after: float) -> bool:
    """Kill a process that writes checkpoints; whether it was writing one."""
    read, write = os.pipe()
    begin = torch.load(path)["global_step"]
    child = os.fork()
    if child == 0:
        try:
            for step in range(begin + 1, begin + 1000):
                content["global_step"] = step
                CheckpointIO().save_checkpoint(content, path)
                os.write(write, b".")
        finally:
            os._exit(1)
    os.close(write)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    with open(read, "rb") as told:
        acknowledged = len(told.read())
    left = {name for name in saved(path.parent) if name != path.name}
    for name in left:
        (path.parent / name).unlink()
    step = torch.load(path)["global_step"]
    assert step - begin in (acknowledged, acknowledged + 1)
    return bool(left)
