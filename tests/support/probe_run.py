"""Linear probes of a real, tiny CAST on blots, and what they should come to."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import DDPStrategy
from support.moco_run import SIDE, tiny_cast
from support.tiny_run import Blots, tiny_trainer
from torch import Tensor
from torch.optim import SGD

from cast_exp.data import CropFlip, ImageDataModule
from cast_exp.data.transforms import evaluation_transform
from cast_exp.distributed import world_size
from cast_exp.models import Backbone
from cast_exp.optim import EpochCosine
from cast_exp.superpixels import Grid
from cast_exp.tasks import LinearProbeTask

LR = 0.5


def backbone() -> Backbone:
    """The same at every call, with dropout that training would turn on."""
    torch.manual_seed(3)
    return tiny_cast(dropout=True)


def images(augment: bool = False, **options: Any) -> ImageDataModule:
    """48 images to train on, in four batches of 10 and one of 8, and 48 to validate on."""
    plain = SimpleNamespace(transforms=[evaluation_transform(SIDE, 1.0)], erasing=None)
    settings: dict[str, Any] = {
        "dataset": Blots,
        "views": CropFlip(SIDE) if augment else plain,
        "superpixel": Grid(16),
        "batch_size": 10,
        "image_size": SIDE,
        "eval_crop": 1.0,
        "workers": 0,
        "drop_last": False,
    }
    return ImageDataModule(**(settings | options))


def probe(**options: Any) -> LinearProbeTask:
    settings: dict[str, Any] = {"schedule": EpochCosine(), "backbone": backbone()} | options
    return LinearProbeTask(optimizer=partial(SGD, lr=LR, momentum=0.9), **settings)


def fit(
    task: LinearProbeTask,
    folder: Path,
    data: ImageDataModule,
    *callbacks: Callback,
    checkpoint: Path | None = None,
    **options: Any,
) -> Trainer:
    trainer = tiny_trainer(folder, *callbacks, **({"max_epochs": 4} | options))
    torch.manual_seed(7)
    trainer.fit(task, datamodule=task.training_data(data), ckpt_path=checkpoint)
    return trainer


@torch.no_grad()
def encoded(model: Backbone, data: ImageDataModule, split: Any) -> tuple[Tensor, Tensor]:
    """Class tokens and labels of all images, by one process."""
    model.eval()
    batches = [data.prepare(batch, "cpu") for batch in data.plain_dataloader(split)]
    features = [model(batch["images"], batch["superpixels"]).cls for batch in batches]
    return torch.cat(features), torch.cat([batch["label"] for batch in batches])


def descended(
    features: Tensor, labels: Tensor, rate: float, epochs: int, batch_size: int, head: int
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a classifier, by the formulas alone, in double precision.

    It is the one drawn after `head` others.
    """
    torch.manual_seed(7)
    for _ in range(head + 1):
        initial = torch.nn.Linear(features.size(1), 3).weight.detach().normal_(std=0.01)
    weight = torch.cat([initial, torch.zeros(3, 1)], 1).double()
    inputs = torch.cat([features, torch.ones(len(features), 1)], 1).double()
    targets = torch.nn.functional.one_hot(labels, 3)
    velocity = torch.zeros_like(weight)
    for epoch in range(epochs):
        now = rate * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        order = np.random.default_rng([0, epoch]).permutation(len(features))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            error = (inputs[rows] @ weight.T).softmax(1) - targets[rows]
            velocity = 0.9 * velocity + error.T @ inputs[rows] / len(rows)
            weight = weight - now * velocity
    return weight[:, :-1].float(), weight[:, -1].float()


def shares(folder: Path, features: str, rates: Sequence[float]) -> dict[str, Any]:
    """A probe on whatever processes there are, and what came of it."""
    task = probe(features=features, rates=rates)
    together: dict[str, Any] = {}
    if world_size() > 1:
        gloo = DDPStrategy(process_group_backend="gloo")
        together = {"strategy": gloo, "devices": world_size()}
    trainer = fit(task, folder, images(batch_size=12), **together)
    return {
        "processes": trainer.world_size,
        "weights": dict(task.heads.state_dict()),
        "figures": {key: value.item() for key, value in trainer.callback_metrics.items()},
    }
