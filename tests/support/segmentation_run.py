"""Fine-tuning of a real, tiny backbone on drawn creatures."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.optim import SGD

from cast_exp.data import SceneDataModule
from cast_exp.data.datasets import Shapes
from cast_exp.models import Backbone, Pooling, Size, create_model
from cast_exp.optim import Poly, Schedule
from cast_exp.superpixels import Seeds
from cast_exp.tasks import SegmentationTask

SIDE = 32


def backbone(family: str = "cast", fusion: bool = True) -> Backbone:
    """The same at every call."""
    torch.manual_seed(3)
    options: dict[str, Any] = {"fusion": fusion, "image_size": SIDE}
    if family == "cast":
        size = Size(24, (1, 1, 1), 2)
        return create_model(size, pooling=Pooling((12, 6)), sampling="interpolated", **options)
    return create_model(Size(24, (2,), 2, "vit"), **options)


def scenes(train: int = 8, val: int = 3, classes: int = 3, **options: Any) -> SceneDataModule:
    """Small creatures of a few kinds; crops are smaller than the scenes."""
    dataset = partial(Shapes, train=train, val=val, size=48, classes=classes)
    settings: dict[str, Any] = {"batch_size": 4, "image_size": 40, "crop": SIDE, "workers": 0}
    return SceneDataModule(dataset, Seeds(36, 5, 4), **(settings | options))


def task(model: Backbone | None = None, **options: Any) -> SegmentationTask:
    settings: dict[str, Any] = {"schedule": Poly()} | options
    schedule: Schedule = settings.pop("schedule")
    optimizer = settings.pop("optimizer", partial(SGD, lr=0.03, momentum=0.9, weight_decay=1e-4))
    return SegmentationTask(model or backbone(), optimizer, schedule, **settings)


def fit(
    tuned: SegmentationTask,
    folder: Path,
    *callbacks: Callback,
    data: SceneDataModule | None = None,
    checkpoint: Path | None = None,
    **options: Any,
) -> Trainer:
    settings: dict[str, Any] = {
        "max_steps": 4,
        "max_epochs": -1,
        "accelerator": "cpu",
        "default_root_dir": folder,
        "logger": False,
        "callbacks": list(callbacks),
        "enable_checkpointing": any("Checkpoint" in type(c).__name__ for c in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
    }
    trainer = Trainer(**(settings | options))
    torch.manual_seed(7)
    trainer.fit(tuned, datamodule=tuned.training_data(data or scenes()), ckpt_path=checkpoint)
    return trainer
