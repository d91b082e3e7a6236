"""Pictures of how the model segments a few fixed images, over the course of training."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from cast_exp.callbacks.side_work import (
    apart_from_training,
    backbone_of,
    data_of,
    spare_the_run,
)
from cast_exp.errors import UserError
from cast_exp.viz import hierarchy_sheet


class HierarchyImages(Callback):
    """Draws the hierarchy of the same images before, during and after training.

    Pictures go to `<run>/images/step<n>.png`, and to W&B and TensorBoard where these log.

    Args:
        count: How many images, the first ones of the split.
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
        self._batch: Any = None
        self._drawn_at = -1

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
        if not trainer.is_global_zero or trainer.global_step == self._drawn_at:
            return
        self._drawn_at = trainer.global_step
        with spare_the_run(trainer, "drawing the hierarchy"):
            sheet = self._sheet(trainer, pl_module)
            path = Path(trainer.default_root_dir) / "images" / f"step{trainer.global_step:07d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(sheet).save(path)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.log_image("hierarchy", [sheet], step=trainer.global_step)
                elif isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_image(
                        "hierarchy", sheet, trainer.global_step, dataformats="HWC"
                    )

    def _sheet(self, trainer: Trainer, pl_module: LightningModule) -> NDArray[np.uint8]:
        data = data_of(trainer)
        with apart_from_training(trainer, pl_module):
            if self._batch is None:
                loader = data.plain_dataloader(self.split, self.count, self.count)
                self._batch = next(iter(loader), None)
                if self._batch is None:
                    raise UserError(f"none of the {self.split} images to draw can be read")
            batch = data.prepare(self._batch, pl_module.device)
            hierarchy = backbone_of(pl_module)(batch["images"], batch["superpixels"])
            levels = [hierarchy.segmentation(level) for level in range(hierarchy.depth + 1)]
        return hierarchy_sheet(data.denormalise(batch["images"]), levels, self.seed)
