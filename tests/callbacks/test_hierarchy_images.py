import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from PIL import Image
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks import HierarchyImages
from cast_exp.data import ImageDataModule, SceneDataModule
from cast_exp.data.datasets import Shapes
from cast_exp.data.transforms import TwoViews, denormalise
from cast_exp.loggers import tensorboard_logger
from cast_exp.models import Pooling, create_model
from cast_exp.superpixels import Seeds
from cast_exp.viz import hierarchy_sheet
from cast_exp.viz.head_maps import HeadMaps, figure_ground_sheet


def expected_sheet(task: TinyTask, count: int, split: str = "val") -> np.ndarray:
    data = tiny_data()
    batch = data.prepare(next(iter(data.plain_dataloader(split, count, count))), "cpu")
    with torch.no_grad():
        hierarchy = task.eval().backbone(batch["images"], batch["superpixels"])
    task.train()
    levels = [hierarchy.segmentation(level) for level in range(3)]
    return hierarchy_sheet(denormalise(batch["images"]), levels)


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
    drawn = sorted(path.stem for path in (tmp_path / "figure_ground").iterdir())
    assert drawn == sorted(pictures)


def test_figure_and_ground_are_left_out_on_request(tmp_path: Path) -> None:
    drawer = HierarchyImages(count=2, figure_ground=False)
    tiny_trainer(tmp_path, drawer).fit(TinyTask(), datamodule=tiny_data())
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


SHAPES = partial(Shapes, train=16, val=6, size=64, creatures=2)
SEEDS = Seeds(49, histogram_bins=5, iterations=4)


def shapes_images() -> ImageDataModule:
    return ImageDataModule(
        SHAPES, TwoViews(48), SEEDS, batch_size=8, image_size=48, eval_crop=0.8, workers=0
    )


def shapes_scenes(**options: Any) -> SceneDataModule:
    return SceneDataModule(
        SHAPES, SEEDS, batch_size=8, image_size=48, crop=48, workers=0, **options
    )


@pytest.mark.parametrize("make", [shapes_images, shapes_scenes])
def test_masks_of_a_real_model_beside_the_instances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], LightningDataModule]
) -> None:
    seen: list[HeadMaps] = []

    def draw(maps: Sequence[HeadMaps], seed: int) -> np.ndarray:
        seen.extend(maps)
        return figure_ground_sheet(maps, seed=seed)

    monkeypatch.setattr("cast_exp.callbacks.hierarchy_images.figure_ground_sheet", draw)
    task, data = TinyTask(), make()
    task.backbone = create_model("cast_tiny", image_size=48, pooling=Pooling((16, 8, 4, 2)))
    trainer = tiny_trainer(tmp_path, logger=False)
    trainer.strategy.connect(task)
    trainer.datamodule = data
    HierarchyImages(count=3).on_train_start(trainer, task)
    assert (tmp_path / "images/step0000000.png").is_file()
    assert len(seen) == 3
    for image in seen:
        best = [
            (mask & (image.objects > 0)).sum() / (mask | (image.objects > 0)).sum()
            for mask in image.masks
        ]
        np.testing.assert_allclose(image.jaccards, best)
        figure, ground = (image.picture[image.objects == k].std() for k in (1, 0))
        assert figure > ground  # truth lies on what it is of: the ground has one colour


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

    def fails_later(image, path, format):
        if "step0000000" not in str(path):
            raise OSError("No space left on device")
        save(image, path, format)

    monkeypatch.setattr(Image.Image, "save", fails_later)
    trainer = tiny_trainer(tmp_path, HierarchyImages(count=1))
    with caplog.at_level(logging.WARNING):
        trainer.fit(TinyTask(), datamodule=tiny_data())
    assert trainer.global_step == 6
    assert "No space left" in caplog.text
