"""A linear probe of a backbone that has just been trained, quick or by the official protocol."""

from collections.abc import Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from pydantic import Field

from cast_exp.data import CropFlip, ImageDataModule
from cast_exp.distributed import OutOfStep, together
from cast_exp.evaluation.base import BaseEvaluation, MakeTrainer
from cast_exp.evaluation.subject import Subject, check_recognition
from cast_exp.optim import EpochCosine
from cast_exp.tasks import LinearProbeTask
from cast_exp.tasks.base import Readout


class LinearProbe(BaseEvaluation):
    """Trains linear classifiers on frozen features; see `LinearProbeTask`.

    Figures, in 0..1, carry the protocol in their names. "cached_top1" and "cached_top5" are at the
    base rate after the last epoch, "cached_top1_best_rate" is the highest of all rates; "knn" goes
    with them. "official_top1" and "official_top5" are after the last epoch, "official_best_top1" is
    the highest of all epochs, which the official release reports.

    Args:
        images: Training and validation images.
        protocol: `cached` encodes each image once, without augmentation. `official` encodes a
            random crop of each image in each epoch; an interrupted one begins anew.
        readout: What stands for an image.
        base_lr: Learning rate for 256 images per step.
        rates: Multiples of it that are tried in the same pass; 1 must be among them. The official
            protocol has none.
        epochs: Passes over the features.
        batch_size: Images per step over all devices.
        classes: Outputs of a classifier; None for one for each class of the data.
        seed: Seed of the classifiers and of the order of the images.
    """

    headline: ClassVar[tuple[str, ...]] = (
        *("cached_top1", "cached_top1_best_rate"),
        *("official_top1", "official_best_top1"),
    )

    def __init__(
        self,
        images: ImageDataModule,
        protocol: Literal["cached", "official"] = "cached",
        readout: Readout = "cls",
        base_lr: Annotated[float, Field(gt=0)] = 0.8,
        rates: Sequence[Annotated[float, Field(gt=0)]] = (0.1, 0.3, 1.0, 3.0),
        epochs: Annotated[int, Field(ge=1)] = 90,
        batch_size: Annotated[int, Field(ge=1)] = 256,
        classes: Annotated[int, Field(ge=2)] | None = None,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(images)
        self.images = images
        self.protocol = protocol
        self.readout = readout
        self.base_lr = base_lr
        self.rates = rates
        self.epochs = epochs
        self.batch_size = batch_size
        self.classes = classes
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
            The figures.
        """
        cached = self.protocol == "cached"
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
                features="cached" if cached else "online",
                rates=self.rates if cached else [1.0],
                classes=self.classes,
            )
            images = copy(self.images)
            batch_size = min(self.batch_size, len(images.raw("train")))
            images.batch_size = max(batch_size // ranks, 1) * ranks
            images.drop_last = False
            images.views = CropFlip(images.image_size)
            data = task.training_data(images)
            # Before the strategy sets up its processes, and their random generators anew.
            task.trainer, trainer.datamodule = trainer, data  # type: ignore[attr-defined]
            task.configure_model()
            together(trainer.fit, task, data)
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        kept = ("top1", "top5", "top1_best_rate" if cached else "best_top1")
        found = {f"{self.protocol}_{name}": f"val/{name}" for name in kept} | {"knn": "val/knn"}
        return {name: figures[logged] for name, logged in found.items() if logged in figures}


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
