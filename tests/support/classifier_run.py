"""A supervised training of a real, tiny CAST on patches of eight colours."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from support.moco_run import SIDE, tiny_cast
from support.tiny_run import tiny_trainer
from torch.optim import AdamW

from cast_exp.data import CropFlip, ImageDataModule
from cast_exp.optim import WarmupCosine
from cast_exp.superpixels import Grid
from cast_exp.tasks import ClassificationTask


class Patches:
    """Images of one colour of eight and noise; six of each class."""

    classes = ("black", "blue", "green", "cyan", "red", "pink", "yellow", "white")

    def __init__(self, split: str) -> None:
        self.offset = 0 if split == "train" else 48

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> dict[str, Any]:
        label = index % 8
        pixels = np.random.default_rng(self.offset + index).integers(0, 130, (24, 24, 3), np.uint8)
        pixels[..., [bool(label & bit) for bit in (4, 2, 1)]] += 60
        return {"image": Image.fromarray(pixels), "label": label}

    def path(self, index: int) -> str:
        return f"patch {index}"


def images(dataset: Any = Patches, **options: Any) -> ImageDataModule:
    settings: dict[str, Any] = {"batch_size": 12, "image_size": SIDE, "eval_crop": 1, "workers": 0}
    return ImageDataModule(dataset, CropFlip(SIDE), Grid(16), **(settings | options))


def trained(folder: Path) -> dict[str, float]:
    """Train for two epochs; the figures of the last validation, and `last.ckpt` in the folder."""
    torch.manual_seed(5)
    task = ClassificationTask(
        tiny_cast(fusion=True),
        partial(AdamW, lr=0.03),
        WarmupCosine(0),
        readout="fused_mean",
        ema_decay=0.5,
    )
    kept = ModelCheckpoint(folder, filename="last")
    trainer = tiny_trainer(folder, kept, max_epochs=2, num_sanity_val_steps=0)
    trainer.fit(task, datamodule=task.training_data(images()))
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
