import logging
import os
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from support.moco_run import tiny_task
from support.tiny_run import TinyTask, tiny_data, tiny_trainer
from torch import nn
from torch.optim import SGD, AdamW

from cast_exp.errors import UserError
from cast_exp.run.resume import checkpoint_to_resume

MODULE = nn.Linear(3, 2)


def save(folder: Path, name: str, age: int, module: nn.Module = MODULE) -> Path:
    path = folder / "checkpoints" / f"{name}.ckpt"
    path.parent.mkdir(exist_ok=True)
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, path)
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def damage(path: Path, how: str) -> None:
    times = path.stat()
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = bytearray()
    elif how == "flipped":  # a byte of a weight, which torch.load would not notice
        place = content.find(MODULE.weight.detach().numpy().tobytes())
        content[place] ^= 255
    path.write_bytes(content)
    os.utime(path, (times.st_atime, times.st_mtime))


def test_new_run_starts_from_nothing(tmp_path: Path) -> None:
    assert checkpoint_to_resume(tmp_path, None, MODULE) is None
    assert checkpoint_to_resume(tmp_path, "auto", MODULE) is None


def test_a_line_says_from_where_it_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert checkpoint_to_resume(tmp_path, "auto", nn.Linear(1, 1)) is None
    assert not caplog.messages
    assert checkpoint_to_resume(tmp_path, str(tmp_path), nn.Linear(1, 1)) is None
    assert caplog.messages.pop() == f"no checkpoint in {tmp_path} yet: training begins anew"
    saving = ModelCheckpoint(
        tmp_path / "checkpoints", "{step}", save_top_k=-1, every_n_train_steps=3
    )
    task, left_off = (
        TinyTask(error=RuntimeError(), at_step=9),
        OnExceptionCheckpoint(tmp_path / "checkpoints", "stopped"),
    )
    with pytest.raises(RuntimeError):
        tiny_trainer(tmp_path, saving, left_off, max_epochs=2).fit(task, tiny_data())
    wanted = (("step=3", (0, 3)), ("step=6", (1, 6)), ("stopped", (1, 9)))
    for time, (name, done) in enumerate(wanted, 2**32):
        os.utime(tmp_path / "checkpoints" / f"{name}.ckpt", (time, time))
        path = checkpoint_to_resume(tmp_path, "auto", task)
        told = "going on from {}: epochs done: {}, steps done: {}".format(path, *done)
        assert (path.stem, caplog.messages.pop()) == (name, told)


def test_newest_is_taken(tmp_path: Path) -> None:
    save(tmp_path, "a", age=2)
    newest = save(tmp_path, "b", age=1)
    save(tmp_path, "c", age=3)
    assert checkpoint_to_resume(tmp_path, "auto", MODULE) == newest


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped"])
def test_damaged_one_falls_back_to_the_one_before(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(save(tmp_path, "last", age=0), how)
    before = save(tmp_path, "before", age=1)
    with caplog.at_level(logging.WARNING):
        assert checkpoint_to_resume(tmp_path, "auto", MODULE) == before
    assert "last.ckpt cannot be read" in caplog.text


def test_nothing_but_damaged_ones(tmp_path: Path) -> None:
    damage(save(tmp_path, "last", age=0), "truncated")
    with pytest.raises(UserError, match=r"no checkpoint can be read.*last\.ckpt"):
        checkpoint_to_resume(tmp_path, "auto", MODULE)


def test_given_checkpoint_starts_a_run_that_then_has_its_own(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    given = save(old, "step5", age=5)
    assert checkpoint_to_resume(new, str(given), MODULE) == given
    own = save(new, "last", age=0)
    assert checkpoint_to_resume(new, str(given), MODULE) == own


def test_checkpoint_of_another_model(tmp_path: Path) -> None:
    save(tmp_path, "last", age=0, module=nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)))
    with pytest.raises(UserError) as caught:
        checkpoint_to_resume(tmp_path, "auto", MODULE)
    message = str(caught.value)
    assert "another model" in message
    assert "2 not in it: weight, bias" in message
    assert "4 only in it: 0.weight, 0.bias, 1.weight, 1.bias" in message

    save(tmp_path, "last", age=0, module=nn.Linear(4, 2))
    with pytest.raises(
        UserError, match=r"1 of another shape: weight: \(2, 4\) instead of \(2, 3\)"
    ):
        checkpoint_to_resume(tmp_path, "auto", MODULE)


def test_checkpoint_that_would_run_code(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    torch.save({"state_dict": {"weight": pytest.fail}}, path)
    with pytest.raises(UserError, match="no checkpoint can be read"):
        checkpoint_to_resume(tmp_path, "auto", MODULE)


def test_what_a_stranger_gave_is_no_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(tmp_path, "last", age=0)
    torch.save({"state_dict": torch.zeros(()).expand(10**10)}, path)
    with pytest.raises(UserError, match="no checkpoint can be read"):
        checkpoint_to_resume(tmp_path, "auto", MODULE)
    torch.save({"state_dict": {"weight": [1], "bias": torch.zeros(2)}}, path)
    with pytest.raises(UserError, match="1 not in it: weight"):
        checkpoint_to_resume(tmp_path, "auto", MODULE)


def test_state_of_another_optimizer(tmp_path: Path) -> None:
    task = tiny_task(optimizer=AdamW)
    task.trainer = tiny_trainer(tmp_path)
    count = sum(parameter.requires_grad for parameter in task.parameters())
    path = save(tmp_path, "last", age=0, module=task)

    def add(optimizer: type, groups: list[int]) -> None:
        states = [{"param_groups": [{"params": [*range(size)]} for size in groups]}]
        course = {"optimizer": [optimizer.__name__]}
        extra = {"course": course, "optimizer_states": states}
        torch.save(torch.load(path, weights_only=True) | extra, path)

    add(AdamW, [count])
    assert checkpoint_to_resume(tmp_path, "auto", task) == path
    for optimizer, groups in ((SGD, [count]), (AdamW, [count - 1, 1])):
        add(optimizer, groups)
        with pytest.raises(UserError, match=f"the state of {optimizer.__name__} for groups of"):
            checkpoint_to_resume(tmp_path, "auto", task)
