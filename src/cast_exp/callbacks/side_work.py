"""Work beside the training loop: it leaves no trace in training and cannot end it."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from cast_exp.data.datamodule import ImageDataModule
from cast_exp.data.features import CachedFeatures

log = logging.getLogger(__name__)


@contextmanager
def apart_from_training(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Run `module` for a look at it, so that training then goes on as if nothing had happened.

    Inside: evaluation mode (no dropout, no update of batch statistics), no gradients, the
    precision of the trainer. Afterwards each submodule has its own training flag back and the
    random generators their state, also when the work fails.
    """
    flags = [(part, part.training) for part in module.modules()]
    devices = [module.device] if module.device.type == "cuda" else []
    # no_grad, as inference mode would let tensors that modules cache break later training.
    with (
        torch.random.fork_rng(devices),
        torch.no_grad(),
        trainer.precision_plugin.val_step_context(),
    ):
        module.eval()
        try:
            yield
        finally:
            for part, training in flags:
                part.training = training


@contextmanager
def spare_the_run(trainer: Trainer, work: str) -> Iterator[None]:
    """Report a failure of `work` instead of ending a run that has something to lose.

    Before the first step a failure is raised, so that what can never work shows at once. Later it
    is logged with its stack trace, the work is skipped and training goes on.
    """
    try:
        yield
    except Exception:
        if trainer.global_step == 0:
            raise
        log.warning(
            "step %d: %s failed, going on without", trainer.global_step, work, exc_info=True
        )


def log_scalars(trainer: Trainer, values: Mapping[str, float]) -> None:
    """Hand figures to every logger at once, under the number of optimiser steps taken so far."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(values), step=trainer.global_step)


def is_due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Whether the epoch that ends is one of every so many, or the last."""
    return (
        (trainer.current_epoch + 1) % every_n_epochs == 0
        or trainer.should_stop
        or trainer.global_step == trainer.max_steps
        or trainer.current_epoch + 1 == trainer.max_epochs
    )


def data_of(trainer: Trainer) -> ImageDataModule:
    """The images the trainer runs on, be it on their features."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    images: ImageDataModule = data.images if isinstance(data, CachedFeatures) else data
    return images


def backbone_of(module: LightningModule) -> nn.Module:
    """The backbone of a task: `(images, superpixels) -> Hierarchy`."""
    backbone: nn.Module = module.backbone  # type: ignore[assignment]
    return backbone
