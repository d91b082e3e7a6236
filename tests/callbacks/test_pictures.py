"""When pictures are drawn, and where they go."""

import logging
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from support.probe_run import images
from support.tiny_run import Blots, TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks.pictures import Pictures, show
from cast_exp.data.datasets import NoSuchSplit


class Steps(Pictures):
    """Notes the steps at which it draws."""

    def __init__(self, fails_from: int | None = None, **options: object) -> None:
        super().__init__(**options)
        self.fails_from, self.steps = fails_from, []

    def draw(self, trainer: object, pl_module: object) -> None:
        self.steps.append(trainer.global_step)
        if self.fails_from is not None and trainer.global_step >= self.fails_from:
            raise OSError("No space left on device")


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, [0, 6, 12, 18]),
        ({"every_n_epochs": 2}, [0, 12, 18]),
        ({"every_n_epochs": None}, [0, 18]),
        ({"every_n_epochs": None, "every_n_steps": 9}, [0, 9, 18]),
        ({"every_n_epochs": 1, "every_n_steps": 4}, [0, 4, 6, 8, 12, 16, 18]),
    ],
)
def test_each_step_is_drawn_at_most_once(
    options: dict[str, int | None], steps: list[int], tmp_path: Path
) -> None:
    drawer = Steps(**options)
    tiny_trainer(tmp_path, drawer, max_epochs=3).fit(TinyTask(), datamodule=tiny_data())
    assert drawer.steps == steps


def test_a_later_picture_that_fails_costs_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = tiny_trainer(tmp_path, Steps(fails_from=1))
    with caplog.at_level(logging.WARNING):
        trainer.fit(TinyTask(), datamodule=tiny_data())
    assert trainer.global_step == 6
    assert "No space left" in caplog.text
    with pytest.raises(OSError, match="No space left"):  # nothing is lost yet
        tiny_trainer(tmp_path, Steps(fails_from=0)).fit(TinyTask(), datamodule=tiny_data())


def test_a_split_that_there_is_not() -> None:
    class NoValidation(Blots):
        def __init__(self, split: str) -> None:
            if split == "val":
                raise NoSuchSplit("none")
            super().__init__(split)

    data = images(dataset=NoValidation)
    assert Steps().obstacle(data) == "there are no val images to draw"
    assert Steps(split="train").obstacle(data) is None


def test_a_picture_is_saved_and_logged(tmp_path: Path) -> None:
    sheet = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    logger = Mock(spec=WandbLogger)
    trainer = SimpleNamespace(global_step=12, default_root_dir=str(tmp_path), loggers=[logger])
    show(trainer, "segments", sheet, folder="sheets")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "sheets/step0000012.png")), sheet)
    logger.log_image.assert_called_once_with("segments", [sheet], step=12)
