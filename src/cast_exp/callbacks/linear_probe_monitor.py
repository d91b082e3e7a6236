"""What a linear classifier makes of the features while they are being learnt."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from cast_exp.callbacks.feature_monitor import FeatureMonitor
from cast_exp.data.features import Features
from cast_exp.distributed import together


class LinearProbeMonitor(FeatureMonitor):
    """Logs "val/probe", the top-1 accuracy (0..1) of a linear classifier on the task's features.

    At the end of every so many epochs, and of training, the features of some images are computed
    and a new classifier is trained on them, as they are under the evaluation transform. It is
    a quick figure to follow, below that of a linear probe proper. All processes train the same
    classifier.

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
    title: ClassVar[str] = "linear probe"

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
        super().__init__(every_n_epochs, images, queries, batch_size)
        self.epochs = epochs
        self.lr = lr
        self.seed = seed

    def score(
        self, train: Features, val: Features, classes: int, device: torch.device
    ) -> dict[str, float]:
        """Train a classifier on standardised features, and see what it gets right."""
        accuracy = together(self._accuracy, train, val, classes, device)
        return {"val/probe": accuracy}

    def _accuracy(
        self, train: Features, val: Features, classes: int, device: torch.device
    ) -> float:
        mean, deviation = train.features.mean(0), train.features.std(0) + 1e-6
        known, asked = (((x.features - mean) / deviation).to(device) for x in (train, val))
        generator = torch.Generator().manual_seed(self.seed)
        weight, bias = fit_classifier(
            known, train.label.to(device), classes, self.epochs, self.lr, self.batch_size, generator
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
