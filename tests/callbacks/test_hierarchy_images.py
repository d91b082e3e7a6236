import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks import HierarchyImages
from cast_exp.loggers import tensorboard_logger
from cast_exp.viz import hierarchy_sheet


def expected_sheet(task: TinyTask, count: int, split: str = "val") -> np.ndarray:
    data = tiny_data()
    batch = data.prepare(next(iter(data.plain_dataloader(split, count, count))), "cpu")
    with torch.no_grad():
        hierarchy = task.eval().backbone(batch["images"], batch["superpixels"])
    task.train()
    levels = [hierarchy.segmentation(level) for level in range(3)]
    return hierarchy_sheet(data.denormalise(batch["images"]), levels)


def test_draws_the_same_images_before_during_and_after_training(tmp_path: Path) -> None:
    task = TinyTask()
    before = expected_sheet(task, 3)
    drawer = HierarchyImages(count=3, every_n_epochs=2, every_n_steps=5)
    tiny_trainer(tmp_path, drawer, max_epochs=3).fit(task, datamodule=tiny_data())
    pictures = {path.stem: np.asarray(Image.open(path)) for path in (tmp_path / "images").iterdir()}
    steps = (0, 5, 10, 12, 15, 18)  # start, every 5 steps, epoch 2, end
    assert sorted(pictures) == [f"step{step:07d}" for step in steps]
    assert (pictures["step0000000"] == before).all()
    assert (pictures["step0000018"] == expected_sheet(task, 3)).all()


def test_tensorboard_gets_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    drawer = HierarchyImages(count=2, split="train")
    trainer = tiny_trainer(tmp_path, drawer, logger=tensorboard_logger(tmp_path))
    trainer.fit(TinyTask(), datamodule=tiny_data())
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Images("hierarchy")] == [0, 6]
    assert "train/loss" in events.Tags()["scalars"]


def test_a_full_disk_costs_a_picture_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save = Image.Image.save

    def fails_later(image, path):
        if "step0000000" not in str(path):
            raise OSError("No space left on device")
        save(image, path)

    monkeypatch.setattr(Image.Image, "save", fails_later)
    trainer = tiny_trainer(tmp_path, HierarchyImages(count=1))
    with caplog.at_level(logging.WARNING):
        trainer.fit(TinyTask(), datamodule=tiny_data())
    assert trainer.global_step == 6
    assert "No space left" in caplog.text
