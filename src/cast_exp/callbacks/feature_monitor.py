"""What measures the features of a task while they are being learnt."""

from abc import abstractmethod
from typing import ClassVar

import torch
from lightning.pytorch import LightningModule, Trainer

from cast_exp.callbacks.needs import NeedsData
from cast_exp.callbacks.side_work import apart_from_training, data_of, is_due, spare_the_run
from cast_exp.data.base import RawDataModule
from cast_exp.data.features import Features, encode_images
from cast_exp.data.recognition import recognition_obstacle
from cast_exp.errors import UserError


class FeatureMonitor(NeedsData):
    """Scores how well images are told apart by their classes, and logs it.

    At the end of every so many epochs, and of training, plain images are encoded by the task as it
    then is, each process encoding its share. Training does not notice.

    Args:
        every_n_epochs: Epochs from one look to the next.
        images: Training images that are encoded; None for all.
        queries: Validation images that are encoded; None for all.
        batch_size: Images encoded at a time, on each device.
    """

    title: ClassVar[str]
    """What it is called in messages."""

    def __init__(
        self, every_n_epochs: int, images: int | None, queries: int | None, batch_size: int
    ) -> None:
        self.every_n_epochs = every_n_epochs
        self.images = images
        self.queries = queries
        self.batch_size = batch_size

    def obstacle(self, data: RawDataModule) -> str | None:
        """See `recognition_obstacle`."""
        return recognition_obstacle(data)

    @abstractmethod
    def score(
        self, train: Features, val: Features, classes: int, device: torch.device
    ) -> dict[str, float]:
        """Figures by name, the same on all processes, which all have all features.

        Where it fails on one of them, it must fail on all; see `together`.
        """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look whether there is something to recognise.

        Raises:
            UserError: There is not; see `recognition_obstacle`.
        """
        if obstacle := self.obstacle(data_of(trainer)):
            raise UserError(f"no {self.title}: {obstacle}; leave this callback out")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure every so many epochs, and after the last step."""
        if is_due(trainer, self.every_n_epochs):
            pl_module.log_dict(self.measure(trainer, pl_module), sync_dist=True)

    def measure(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """Encode and score; empty when that failed on a process."""
        data, device = data_of(trainer), pl_module.device
        figures: dict[str, float] = {}
        with spare_the_run(trainer, self.title):
            with apart_from_training(trainer, pl_module):
                train, val = (
                    encode_images(data, split, pl_module.features, device, limit, self.batch_size)  # type: ignore[arg-type]
                    for split, limit in (("train", self.images), ("val", self.queries))
                )
            figures |= self.score(train, val, data.num_classes, device)
        return figures
