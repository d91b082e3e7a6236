"""What a linear classifier makes of the features while they are being learnt."""

from typing import Annotated, ClassVar

import torch
from lightning.pytorch import LightningModule, Trainer
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from cast_exp.callbacks.needs import NeedsClasses
from cast_exp.callbacks.side_work import (
    apart_from_training,
    data_of,
    is_due,
    spare_the_run,
)
from cast_exp.data.datasets.base import Split
from cast_exp.data.features import Features
from cast_exp.errors import UserError


class LinearProbeMonitor(NeedsClasses):
    """Logs "val/probe", the top-1 accuracy (0..1) of a linear classifier on the task's features.

    At the end of every so many epochs, and of training, the features of some images are computed
    and a new classifier is trained on them, as they are under the evaluation transform. It is
    a quick figure to follow, below that of a linear probe proper. The training of the task does not
    notice. Every process encodes its share of the images; all train the same classifier.

    Args:
        every_n_epochs: Epochs from one figure to the next.
        images: Training images the classifier is trained on; None for all.
        queries: Validation images it is scored on; None for all.
        epochs: Passes of the classifier over its images.
        lr: Its learning rate at the start; it follows half a cosine to 0.
        batch_size: Images encoded at a time, and features in a step of the classifier.
        seed: Of the order of the features.
    """

    figures: ClassVar[tuple[str, ...]] = ("val/probe",)

    def __init__(
        self,
        every_n_epochs: Annotated[int, Field(ge=1)] = 10,
        images: Annotated[int, Field(ge=1)] | None = 20_000,
        queries: Annotated[int, Field(ge=1)] | None = 5_000,
        epochs: Annotated[int, Field(ge=1)] = 30,
        lr: Annotated[float, Field(gt=0)] = 0.1,
        batch_size: Annotated[int, Field(ge=1)] = 64,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.every_n_epochs = every_n_epochs
        self.images = images
        self.queries = queries
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.seed = seed

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look whether there is something to classify.

        Raises:
            UserError: There is nothing to recognise; see `recognition_obstacle`.
        """
        if obstacle := self.obstacle(data_of(trainer)):
            raise UserError(f"no linear probe: {obstacle}; leave this callback out")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train and score a classifier, every so many epochs and after the last step."""
        if not is_due(trainer, self.every_n_epochs):
            return
        with spare_the_run(trainer, "the linear probe"):
            failure: Exception | None = None
            try:
                train = self._encode(trainer, pl_module, "train", self.images)
                val = self._encode(trainer, pl_module, "val", self.queries)
            except Exception as error:
                failure = error
            # Before the features are gathered, all must know that all are there to gather.
            if not trainer.strategy.reduce_boolean_decision(failure is None):
                raise failure or RuntimeError("the linear probe failed on another process")
            device = pl_module.device
            accuracy = self._score(train.joined(device), val.joined(device), trainer, device)
            pl_module.log("val/probe", accuracy, sync_dist=True)

    def _encode(
        self, trainer: Trainer, pl_module: LightningModule, split: Split, limit: int | None
    ) -> Features:
        data = data_of(trainer)
        with apart_from_training(trainer, pl_module):
            loader = data.plain_dataloader(split, limit, self.batch_size, shared=True)
            batches = (data.prepare(batch, pl_module.device) for batch in loader)
            return Features.of(batches, pl_module.features)  # type: ignore[arg-type]

    def _score(
        self, train: Features, val: Features, trainer: Trainer, device: torch.device
    ) -> float:
        mean, deviation = train.features.mean(0), train.features.std(0) + 1e-6
        known, asked = (((x.features - mean) / deviation).to(device) for x in (train, val))
        outputs = data_of(trainer).num_classes
        generator = torch.Generator().manual_seed(self.seed)
        weight, bias = fit_classifier(
            known, train.label.to(device), outputs, self.epochs, self.lr, self.batch_size, generator
        )
        predicted = (asked @ weight.T + bias).argmax(1)
        return (predicted == val.label.to(device)).float().mean().item()


@torch.enable_grad()
def fit_classifier(
    features: Tensor,
    labels: Tensor,
    classes: int,
    epochs: int,
    lr: float,
    batch_size: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Train a linear classifier from zero by gradient descent with momentum 0.9.

    Args:
        features: Float32 (N, C).
        labels: 0..classes-1, int64 (N,).
        classes: Number of classes.
        epochs: Passes over the features.
        lr: Learning rate at the start; it follows half a cosine to 0, in steps of an epoch.
        batch_size: Features in a step.
        generator: Draws the order, on the CPU.

    Returns:
        Weight (classes, C) and bias (classes,).
    """
    weight = features.new_zeros(classes, features.size(1), requires_grad=True)
    bias = features.new_zeros(classes, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        order = torch.randperm(len(features), generator=generator).to(features.device)
        for rows in torch.split(order, batch_size):
            optimizer.zero_grad()
            loss = F.cross_entropy(F.linear(features[rows], weight, bias), labels[rows])
            torch.autograd.backward(loss)
            optimizer.step()
        schedule.step()
    return weight.detach(), bias.detach()
