"""Where a resumed run is, also if its steps are others; tests/data/test_resume.py resumes more."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from support.moco_run import tiny_cast
from support.tiny_run import tiny_data, tiny_trainer
from torch import Tensor, nn
from torch.optim import SGD

from cast_exp.optim import Poly, Schedule, WarmupCosine
from cast_exp.tasks import BaseTask
from cast_exp.tasks.progress import count_epoch_in_work

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

COUNTS = ("ready", "started", "processed", "completed")


def saved(counts: tuple[int, ...], epoch: int, batch: int, last: bool = False) -> dict[str, Any]:
    loader = {"combined_loader": [{"epoch": epoch, "batch": batch}]}
    epochs = {scope: dict(zip(COUNTS, counts, strict=True)) for scope in ("total", "current")}
    batches = {"current": dict.fromkeys(COUNTS, batch), "is_last_batch": last}
    loops = {"epoch_progress": epochs, "epoch_loop.batch_progress": batches, "state_dict": loader}
    return {"loops": {"fit_loop": loops}}


@pytest.mark.parametrize(
    ("counts", "epoch", "batch", "last", "expected"),
    [
        ((3, 3, 2, 2), 2, 1, False, (3, 3, 2, 2)),  # as Lightning saves it within an epoch
        ((2, 2, 2, 2), 2, 1, False, (3, 3, 2, 2)),  # after a run went on from the end of an epoch
        ((2, 2, 2, 1), 1, 6, True, (2, 2, 2, 2)),  # at the end of an epoch
        ((2, 2, 2, 1), 1, 4, False, (2, 2, 1, 1)),  # of one that max_steps cut short
    ],
)
def test_an_epoch_is_counted_once(
    counts: tuple[int, ...], epoch: int, batch: int, last: bool, expected: tuple[int, ...]
) -> None:
    checkpoint = saved(counts, epoch, batch, last)
    count_epoch_in_work(checkpoint)
    for found in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
        assert tuple(found.values()) == expected


class Course(BaseTask):
    """Trains one number, and keeps the images, progress and learning rate of each batch."""

    views = 2

    def __init__(self, schedule: Schedule | None = None, rate: float = 0.1) -> None:
        optimizer = partial(SGD, lr=rate, momentum=0.9)
        super().__init__(
            tiny_cast(),
            optimizer,
            schedule or WarmupCosine(1),
            lambda task: [{"params": [task.number]}],
        )
        self.number = nn.Parameter(torch.ones(()))
        self.seen: list[tuple[list[int], float, float]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        (group,) = self.trainer.optimizers[0].param_groups
        self.seen.append((batch["index"].tolist(), self.progress, group["lr"]))
        return self.number.square()


def train(
    folder: Path,
    batch_size: int,
    *callbacks: Callback,
    task: Course | None = None,
    checkpoint: Path | None = None,
    **options: Any,
) -> Course:
    """Train for three epochs of 48 images."""
    task = task or Course()
    trainer = tiny_trainer(folder, *callbacks, **({"max_epochs": 3} | options))
    trainer.fit(task, tiny_data(batch_size), ckpt_path=checkpoint)
    return task


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a run of 6 steps an epoch; all=STEP are saved at ends of epochs."""
    folder = tmp_path_factory.mktemp("stopped")
    every = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    ends = ModelCheckpoint(
        folder,
        "all={step}",
        auto_insert_metric_name=False,
        save_top_k=-1,
        save_on_train_epoch_end=True,
    )
    train(folder, 8, every, ends)
    return folder


@pytest.mark.parametrize(
    ("name", "batch_size", "accumulate", "done"),
    [
        ("step=4", 4, 1, 8),  # 4 of 6 steps are as much as 8 of 12
        ("step=10", 5, 1, 15),  # and 6 of 9
        ("step=6", 4, 1, 12),  # on the last batch of an epoch
        ("step=12", 16, 1, 6),
        ("all=12", 4, 1, 24),  # at the end of an epoch
        ("all=12", 16, 1, 6),
        ("step=9", 8, 2, 4),  # a step that is not whole is begun anew
        ("step=8", 8, 3, 2),
    ],
)
def test_with_other_steps_a_run_goes_on_as_the_straight_one_at_that_share(
    stopped: Path, name: str, batch_size: int, accumulate: int, done: int
) -> None:
    steps = {"accumulate_grad_batches": accumulate}
    straight = train(stopped, batch_size, **steps)
    resumed = train(stopped, batch_size, checkpoint=stopped / f"{name}.ckpt", **steps)
    assert resumed.seen == straight.seen[done * accumulate :]


def test_it_can_be_changed_and_resumed_again_and_again(stopped: Path, tmp_path: Path) -> None:
    every = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    straight = train(stopped, 4)
    train(stopped, 4, every, checkpoint=stopped / "step=4.ckpt")  # from step 4 as from 8 of 36
    again = train(stopped, 4, checkpoint=tmp_path / "step=11.ckpt")
    assert again.seen == straight.seen[15:]
    back = train(stopped, 8, checkpoint=tmp_path / "step=16.ckpt")  # 20 of 36 are 10 of 18
    assert back.seen == train(stopped, 8).seen[10:]


def test_what_is_configured_of_the_optimizer_takes_effect(stopped: Path) -> None:
    resumed = Course(rate=0.3)
    train(stopped, 8, task=resumed, checkpoint=stopped / "step=7.ckpt")
    assert resumed.seen == train(stopped, 8, task=Course(rate=0.3)).seen[7:]


@pytest.mark.parametrize("batch_size", [8, 16])
def test_a_run_without_epochs_goes_by_its_steps(tmp_path: Path, batch_size: int) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=4, save_top_k=-1)
    limits = {"max_epochs": -1, "max_steps": 10}
    straight = train(tmp_path, 8, saver, task=Course(Poly()), **limits)
    checkpoint = tmp_path / "step=4.ckpt"
    resumed = train(tmp_path, batch_size, task=Course(Poly()), checkpoint=checkpoint, **limits)
    assert [rate for *_, rate in resumed.seen] == [rate for *_, rate in straight.seen[4:]]


@pytest.mark.parametrize("steps", [3, 6, 8])  # 6 in an epoch
def test_more_steps_than_those_a_run_ended_by_go_on_in_its_epoch(
    tmp_path: Path, steps: int
) -> None:
    last = ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True)
    train(tmp_path, 8, last, max_steps=steps)
    straight = train(tmp_path, 8)
    for more in (-1, 14):
        resumed = train(tmp_path, 8, checkpoint=tmp_path / "last.ckpt", max_steps=more)
        assert resumed.seen == straight.seen[steps : None if more < 0 else more]
