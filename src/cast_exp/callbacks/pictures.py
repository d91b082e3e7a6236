"""When pictures are drawn in the course of training, and where they go."""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from cast_exp.callbacks.needs import NeedsData
from cast_exp.callbacks.side_work import spare_the_run
from cast_exp.data.base import RawDataModule
from cast_exp.data.datasets.base import NoSuchSplit
from cast_exp.output.files import atomic_write


class Pictures(NeedsData):
    """Draws the same images before, during and after training.

    Args:
        count: How many images of the split.
        every_n_epochs: Draw at the end of every so many epochs; None for never.
        every_n_steps: Draw also after every so many steps; None for never.
        split: Where the images come from.
        seed: Palette.
    """

    def __init__(
        self,
        count: Annotated[int, Field(ge=1)] = 8,
        every_n_epochs: Annotated[int, Field(ge=1)] | None = 1,
        every_n_steps: Annotated[int, Field(ge=1)] | None = None,
        split: Literal["train", "val"] = "val",
        seed: int = 0,
    ) -> None:
        self.count = count
        self.every_n_epochs = every_n_epochs
        self.every_n_steps = every_n_steps
        self.split = split
        self.seed = seed
        self._drawn_at = -1

    def obstacle(self, data: RawDataModule) -> str | None:
        """Whether the split is one that the data set is configured without."""
        try:
            data.raw(self.split)
        except NoSuchSplit:
            return f"there are no {self.split} images to draw"
        return None

    @abstractmethod
    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what the network now sees, and `show` it."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the untrained network, or the one a resumed run begins with."""
        self._draw(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw every so many steps."""
        if self.every_n_steps and trainer.global_step % self.every_n_steps == 0:
            self._draw(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw every so many epochs."""
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the trained network."""
        self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and trainer.global_step != self._drawn_at:
            self._drawn_at = trainer.global_step
            with spare_the_run(trainer, "drawing pictures"):
                self.draw(trainer, pl_module)


def show(trainer: Trainer, subject: str, sheet: NDArray[np.uint8], folder: str = "images") -> None:
    """Save a picture as `<run>/<folder>/step<n>.png` and hand it to W&B and TensorBoard.

    Args:
        trainer: Of the run.
        subject: What the picture shows, as loggers are to call it.
        sheet: The picture, uint8 (height, width, 3 or 4).
        folder: Where it is saved.
    """
    step = trainer.global_step
    path = Path(trainer.default_root_dir) / folder / f"step{step:07d}.png"
    with atomic_write(path) as new:
        Image.fromarray(sheet).save(new, "png")
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(subject, [sheet], step=step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(subject, sheet, step, dataformats="HWC")
