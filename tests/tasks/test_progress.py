"""Where a resumed run is, also if its steps are others; tests/data/test_resume.py resumes more."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from support.moco_run import Recorder, fit, tiny_cast, tiny_task
from support.tiny_run import tiny_data
from torch.optim import SGD

from cast_exp.optim import Poly
from cast_exp.tasks import MoCoTask
from cast_exp.tasks.progress import count_epoch_in_work

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


class Images(Callback):
    """Keeps which images each batch has."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, _: int) -> None:
        self.seen.append(batch["index"].tolist())


def task(rate: float = 0.1, **options: Any) -> MoCoTask:
    torch.manual_seed(3)
    return tiny_task(tiny_cast(), optimizer=partial(SGD, lr=rate, momentum=0.9), **options)


def train(
    batch_size: int, *callbacks: Callback, trained: MoCoTask | None = None, **options: Any
) -> tuple[Recorder, list[list[int]]]:
    """Train for three epochs of 48 images, and tell figures and images of each step."""
    images = Images()
    settings = {"max_epochs": 3, "precision": "32-true"} | options
    recorder = fit(trained or task(), tiny_data(batch_size), images, *callbacks, **settings)
    return recorder, images.seen


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
    train(8, every, ends)
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning")
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
    straight, images = train(batch_size, accumulate_grad_batches=accumulate)
    resumed, seen = train(
        batch_size, checkpoint=stopped / f"{name}.ckpt", accumulate_grad_batches=accumulate
    )
    assert resumed.rates == straight.rates[done:]
    assert seen == images[done * accumulate :]
    momenta, wanted = (
        [figures["train/momentum"] for figures in run.figures] for run in (resumed, straight)
    )
    assert momenta == wanted[done * accumulate :]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_it_can_be_changed_and_resumed_again_and_again(stopped: Path, tmp_path: Path) -> None:
    every = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    train(4, every, checkpoint=stopped / "step=4.ckpt")  # from step 4 as from 8 of 36
    straight = train(4)
    again = train(4, checkpoint=tmp_path / "step=11.ckpt")
    assert again[0].rates == straight[0].rates[15:]
    assert again[1] == straight[1][15:]
    back = train(8, checkpoint=tmp_path / "step=16.ckpt")  # 20 of 36 are 10 of 18
    assert back[0].rates == train(8)[0].rates[10:]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_configured_of_the_optimizer_takes_effect(stopped: Path) -> None:
    trained = task(rate=0.3)
    resumed, _ = train(8, trained=trained, checkpoint=stopped / "step=7.ckpt")
    straight, _ = train(8, trained=task(rate=0.3))
    assert resumed.rates == straight.rates[7:]
    (group,) = trained.optimizers().param_groups  # type: ignore[union-attr]
    assert group["initial_lr"] == 0.3
    assert group["momentum"] == 0.9


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("batch_size", [8, 16])
def test_a_run_without_epochs_goes_by_its_steps(tmp_path: Path, batch_size: int) -> None:
    def steps() -> MoCoTask:
        made = task()
        made.schedule = Poly()
        return made

    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=4, save_top_k=-1)
    limits = {"max_epochs": -1, "max_steps": 10}
    straight, _ = train(8, saver, trained=steps(), **limits)
    checkpoint = tmp_path / "step=4.ckpt"
    resumed, _ = train(batch_size, trained=steps(), checkpoint=checkpoint, **limits)
    assert resumed.rates == straight.rates[4:]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("steps", [3, 6, 8])  # 6 in an epoch
def test_more_steps_than_those_a_run_ended_by_go_on_in_its_epoch(
    tmp_path: Path, steps: int
) -> None:
    last = ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True)
    train(8, last, max_steps=steps)
    straight, images = train(8)
    for more in (-1, 14):
        resumed, seen = train(8, checkpoint=tmp_path / "last.ckpt", max_steps=more)
        assert seen == images[steps : None if more < 0 else more]
        assert resumed.rates == straight.rates[steps : None if more < 0 else more]
