"""A run that is stopped anywhere sees the same batches after it is resumed."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from support.streams import Greys

from cast_exp.data import ImageDataModule, RawDataModule, SceneDataModule, TwoViews
from cast_exp.data.datasets import ImageFolder, Shapes
from cast_exp.superpixels import Grid
from cast_exp.tasks.progress import count_epoch_in_work

EPOCHS = 3
STEPS = 6  # per epoch


class Stop(Exception):
    pass


class StopsAt(pl.Callback):
    """Ends a run in the middle of a step or just after it, and saves as the run breaks down."""

    def __init__(self, path: Path, step: int, after: bool) -> None:
        self.path, self.step, self.after = path, step, after

    def on_before_backward(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self.step and not self.after:
            raise Stop

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self.step + 1 and self.after:
            raise Stop

    def on_exception(self, trainer: pl.Trainer, *_: object) -> None:
        trainer.save_checkpoint(self.path)


class Recorder(pl.LightningModule):
    """Trains a linear layer and remembers each batch it was given."""

    def __init__(self, views: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(views * 3 * 16 * 16, 1)
        self.seen: list[tuple[int, list[int], float]] = []

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        count_epoch_in_work(checkpoint)

    def training_step(self, batch: dict, batch_idx: int) -> torch.Tensor:
        images = batch["images"]
        pixels = torch.cat(images, 1) if isinstance(images, list) else images
        self.seen.append((self.global_step, batch["index"].tolist(), pixels.double().sum().item()))
        return self.layer(pixels.flatten(1)).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-5)


def images(folder: Path, workers: int, **options: Any) -> RawDataModule:
    return ImageDataModule(
        ImageFolder,
        TwoViews(16),
        Grid(4),
        folder,
        batch_size=4,
        image_size=16,
        workers=workers,
        seed=1,
        **options,
    )


on_device = partial(images, augment_on="device", superpixels_on="device")


def streamed(_: Path, workers: int) -> RawDataModule:
    stream = partial(Greys, sizes=(6, 6, 6, 6))
    return ImageDataModule(
        stream, TwoViews(16), Grid(4), batch_size=4, image_size=16, workers=workers, seed=1
    )


def crops(_: Path, workers: int) -> RawDataModule:
    shapes = partial(Shapes, train=24, val=2, size=16)
    return SceneDataModule(shapes, Grid(4), batch_size=4, crop=16, workers=workers, seed=1)


def run(
    folder: Path,
    where: Path,
    workers: int,
    resume: Path | None = None,
    stop: StopsAt | None = None,
    make: Callable[[Path, int], RawDataModule] = images,
    **options: object,
) -> Recorder:
    saver = pl.callbacks.ModelCheckpoint(
        where, "{step}", every_n_train_steps=1, save_top_k=-1, save_on_train_epoch_end=False
    )
    at_end = pl.callbacks.ModelCheckpoint(
        where, "end-{epoch}", every_n_epochs=1, save_top_k=-1, save_on_train_epoch_end=True
    )
    model = Recorder(1 if make is crops else 2)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=stop is None,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[saver, at_end] if stop is None else [stop],
        **options,
    )
    trainer.fit(model, make(folder, workers), ckpt_path=resume)
    return model


@pytest.mark.filterwarnings("error:.*not resumable")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("workers", "limit", "make"),
    [
        (0, {"max_epochs": EPOCHS}, images),
        (2, {"max_epochs": EPOCHS}, images),
        (0, {"max_steps": EPOCHS * STEPS}, images),
        (0, {"max_epochs": EPOCHS}, on_device),
        (2, {"max_epochs": EPOCHS}, streamed),
        (0, {"max_epochs": EPOCHS}, crops),
        (0, {"max_epochs": EPOCHS, "accumulate_grad_batches": 2}, crops),
    ],
    ids=["epochs", "workers", "steps", "device", "streamed", "crops", "accumulated"],
)
def test_resumed_runs_equal_the_straight_one(
    folder: Path,
    tmp_path: Path,
    workers: int,
    limit: dict[str, int],
    make: Callable[[Path, int], RawDataModule],
) -> None:
    straight = run(folder, tmp_path / "straight", workers, make=make, **limit)
    batches = limit.get("accumulate_grad_batches", 1)  # of a step
    assert [step for step, *_ in straight.seen] == [n // batches for n in range(EPOCHS * STEPS)]
    epochs = [sorted(j for s in straight.seen[i : i + STEPS] for j in s[1]) for i in (0, 6, 12)]
    numbers = make(folder, 0).chosen("train").tolist()
    assert epochs == [numbers] * EPOCHS
    assert len(set(numbers)) == 24
    assert len({tuple(s[1]) for s in straight.seen}) == EPOCHS * STEPS

    points = {f"step={n}": n for n in ((4, 8) if workers else (1, 5, 6, 7, 12, 16))}
    if batches > 1:
        points = {f"step={n}": n * batches for n in (1, 2, 3, 4, 8)}
    points |= {"end-epoch=0": STEPS, "end-epoch=1": 2 * STEPS}
    for name, done in points.items():
        there = tmp_path / name
        resumed = run(
            folder, there, workers, tmp_path / f"straight/{name}.ckpt", make=make, **limit
        )
        assert resumed.seen == straight.seen[done:], name
        assert torch.equal(resumed.layer.weight, straight.layer.weight), name
        shutil.rmtree(there, ignore_errors=True)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", [0, 3, 6, 11])
def test_a_run_that_broke_down_goes_on_where_its_weights_are(
    folder: Path, tmp_path: Path, step: int, after: bool
) -> None:
    """A batch is seen again if its step was not made, and only then."""
    straight = run(folder, tmp_path, 0, max_epochs=EPOCHS)
    broken = tmp_path / "broken.ckpt"
    with pytest.raises(Stop):
        run(folder, tmp_path, 0, stop=StopsAt(broken, step, after), max_epochs=EPOCHS)
    resumed = run(folder, tmp_path, 0, broken, max_epochs=EPOCHS)
    assert resumed.seen == straight.seen[step + after :]
    assert torch.equal(resumed.layer.weight, straight.layer.weight)


def test_iterating_twice_starts_anew(folder: Path) -> None:
    loader = ImageDataModule(
        ImageFolder, TwoViews(16), Grid(4), folder, batch_size=4, workers=0
    ).train_dataloader()
    first = [batch["index"].tolist() for batch in loader]
    assert [batch["index"].tolist() for batch in loader] == first
    loader.load_state_dict({"epoch": 0, "batch": 4})
    assert len(loader) == 6
    assert [batch["index"].tolist() for batch in loader] == first[4:]
    loader.sampler.set_epoch(1)
    assert len(list(loader)) == 6


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("first", [STEPS - 1, STEPS, 2 * STEPS])  # the last are ends of epochs
def test_a_run_can_be_resumed_again_and_again(folder: Path, tmp_path: Path, first: int) -> None:
    again = partial(run, folder, workers=0, make=crops, max_epochs=EPOCHS)
    straight = again(where=tmp_path / "straight")
    once = again(where=tmp_path / "once", resume=tmp_path / "straight" / f"step={first}.ckpt")
    assert once.seen == straight.seen[first:]
    for second in {first + 1, first + 3, *range(2 * STEPS, first, -STEPS)} - {first}:
        checkpoint = tmp_path / "once" / f"step={second}.ckpt"
        twice = again(where=tmp_path / "twice", resume=checkpoint)
        assert twice.seen == straight.seen[second:], second
