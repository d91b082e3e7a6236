"""A linear probe, with kNN, of a backbone that has just been trained."""

from collections.abc import Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from pydantic import Field

from cast_exp.data import ImageDataModule
from cast_exp.distributed import OutOfStep, together
from cast_exp.evaluation.base import BaseEvaluation, MakeTrainer
from cast_exp.evaluation.subject import Subject, check_recognition
from cast_exp.optim import EpochCosine
from cast_exp.tasks import LinearProbeTask
from cast_exp.tasks.base import Readout


class LinearProbe(BaseEvaluation):
    """Trains linear classifiers on cached features; see `LinearProbeTask`.

    Args:
        images: Training and validation images.
        readout: What stands for an image.
        base_lr: Learning rate for 256 images per step.
        rates: Multiples of it that are tried in the same pass; 1 must be among them.
        epochs: Passes over the features.
        batch_size: Images per step over all devices.
        seed: Seed of the classifiers and of the order of the images.
    """

    headline: ClassVar[tuple[str, ...]] = ("top1", "top1_best_rate")

    def __init__(
        self,
        images: ImageDataModule,
        readout: Readout = "cls",
        base_lr: Annotated[float, Field(gt=0)] = 0.8,
        rates: Sequence[Annotated[float, Field(gt=0)]] = (0.1, 0.3, 1.0, 3.0),
        epochs: Annotated[int, Field(ge=1)] = 90,
        batch_size: Annotated[int, Field(ge=1)] = 256,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(images)
        self.images = images
        self.readout = readout
        self.base_lr = base_lr
        self.rates = rates
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed

    def check(self, subject: Subject | None = None) -> None:
        """Look for images of several classes, and for what is read out.

        Raises:
            UserError: Missing data, one class only, or a backbone without fusion block to read.
        """
        check_recognition(self.images, self.readout, subject)

    def evaluate(
        self, make_trainer: MakeTrainer, subject: Subject, folder: Path
    ) -> dict[str, float]:
        """See `BaseEvaluation.evaluate`; it trains, on the same devices.

        Args:
            make_trainer: See there.
            subject: What to probe; it is not changed.
            folder: For features, curves and classifiers.

        Returns:
            "top1" and "top5" at the base rate after the last epoch, "top1_best_rate", "knn": 0..1.
        """
        trainer = make_trainer(
            max_epochs=self.epochs,
            default_root_dir=folder,
            logger=CSVLogger(folder, name="", version=""),
            callbacks=[_Abreast()],
            enable_progress_bar=False,
            log_every_n_steps=10,
        )
        device, ranks = trainer.strategy.root_device, trainer.world_size
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            task = LinearProbeTask(
                subject.backbone,
                partial(torch.optim.SGD, lr=self.base_lr * self.batch_size / 256, momentum=0.9),
                EpochCosine(),
                readout=self.readout,
                seed=self.seed,
                features="cached",
                rates=self.rates,
            )
            images = copy(self.images)
            batch_size = min(self.batch_size, len(images.raw("train")))
            images.batch_size = max(batch_size // ranks, 1) * ranks
            images.drop_last = False
            data = task.training_data(images)
            # Before the strategy sets up its processes, and their random generators anew.
            task.trainer, trainer.datamodule = trainer, data  # type: ignore[attr-defined]
            task.configure_model()
            together(trainer.fit, task, data)
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        kept = ("top1", "top5", "top1_best_rate", "knn")
        return {name: figures[f"val/{name}"] for name in kept if f"val/{name}" in figures}


class _Abreast(Callback):
    """Ends all processes when one fails in a step, in which the others wait for it."""

    def __init__(self) -> None:
        self._training = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._training = True

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if self._training and trainer.world_size > 1 and isinstance(exception, Exception):
            raise OutOfStep from exception
