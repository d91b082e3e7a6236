"""The one place where batch, learning rate and steps of a run follow from each other.

- `data.batch_size` is the global batch: images per step over all devices. A device takes
  `data.batch_size / devices` of them.
- The effective batch is what one optimiser step sees: the global batch times
  `trainer.accumulate_grad_batches`.
- The learning rate is `optim.base_lr * effective batch / optim.reference_batch` (linear scaling).
- An epoch has as many batches as the images fill, rounded down when `data.drop_last` holds and up
  otherwise, or fewer by `trainer.limit_train_batches`; each `accumulate_grad_batches` of them make
  an optimiser step. A run ends after `trainer.max_epochs`, or after `trainer.max_steps` if earlier.
"""

from dataclasses import dataclass
from math import ceil, isfinite
from typing import TYPE_CHECKING

from cast_exp.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from cast_exp.data.base import RawDataModule


def scaled_lr(base_lr: float, batch_size: int, accumulate: int, reference_batch: int) -> float:
    """The learning rate for an effective batch of `batch_size * accumulate` images.

    Raises:
        UserError: An argument is not a number above 0.
    """
    numbers = {
        "optim.base_lr": base_lr,
        "data.batch_size": batch_size,
        "trainer.accumulate_grad_batches": accumulate,
        "optim.reference_batch": reference_batch,
    }
    for name, number in numbers.items():
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not (is_number and isfinite(number) and number > 0):
            raise UserError(f"{name}={number}: should be a finite number above 0")
    return base_lr * batch_size * accumulate / reference_batch


@dataclass(frozen=True)
class Plan:
    """What a run will do, as printed at its start and logged as hyperparameters.

    Attributes:
        images: Training images.
        devices: Processes that train.
        batch_size: Images per step over all devices.
        batch_size_per_device: The share of each.
        effective_batch_size: Images per optimiser step.
        lr: Peak learning rate.
        epochs: Passes over the images, the last perhaps not complete.
        steps_per_epoch: Optimiser steps in each.
        steps: Optimiser steps in all.
    """

    images: int
    devices: int
    batch_size: int
    batch_size_per_device: int
    effective_batch_size: int
    lr: float
    epochs: int
    steps_per_epoch: int
    steps: int

    @classmethod
    def of(cls, trainer: "Trainer", data: "RawDataModule", lr: float) -> "Plan":
        """The plan of a trainer and its data, whose training images are counted.

        Raises:
            UserError: Missing data, a batch that the devices cannot share or that the images do not
                fill, or no number of epochs or steps to train for.
        """
        from cast_exp.data.base import local_batch_size

        data.require_a_batch()
        images = len(data.raw("train"))
        accumulate = trainer.accumulate_grad_batches
        batches = images // data.batch_size if data.drop_last else ceil(images / data.batch_size)
        limit = trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        steps_per_epoch = ceil(batches / accumulate)
        endless = trainer.max_epochs in (None, -1)
        if endless and trainer.max_steps == -1:
            raise UserError("the run would never end; set trainer.max_epochs or trainer.max_steps")
        epochs = trainer.max_epochs or 0
        steps = trainer.max_steps if endless else epochs * steps_per_epoch
        if trainer.max_steps != -1:
            steps = min(steps, trainer.max_steps)
        return cls(
            images=images,
            devices=trainer.world_size,
            batch_size=data.batch_size,
            batch_size_per_device=local_batch_size(data.batch_size, trainer.world_size),
            effective_batch_size=data.batch_size * accumulate,
            lr=lr,
            epochs=ceil(steps / max(steps_per_epoch, 1)),
            steps_per_epoch=steps_per_epoch,
            steps=steps,
        )
