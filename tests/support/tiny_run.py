"""A run small enough for a test: real data module, trainer and hierarchy, a toy network."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from PIL import Image
from torch import Tensor, nn

from cast_exp.data.datamodule import ImageDataModule
from cast_exp.data.transforms import TwoViews
from cast_exp.metrics import knn_hits
from cast_exp.models import Attention, Hierarchy
from cast_exp.models.hierarchy import Level
from cast_exp.ops import Superpixels
from cast_exp.superpixels import Grid


class Blots:
    """Images of one noisy colour; the class is the colour."""

    classes = ("red", "green", "blue")

    def __init__(self, split: str, count: int = 48) -> None:
        self.offset = 0 if split == "train" else count
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng(self.offset + index)
        pixels = rng.integers(0, 230, (24, 24, 3), dtype=np.uint8)
        label = index % len(self.classes)
        pixels[..., label] += 6
        return {"image": Image.fromarray(pixels), "label": label}

    def path(self, index: int) -> str:
        return f"blot {index}"


class TinyBackbone(nn.Module):
    """Two groupings over 16 superpixels; batch norm and dropout, which a look must not disturb."""

    figure_block = 1

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, dim, 4, stride=4), nn.BatchNorm2d(dim), nn.Dropout(0.1)
        )
        self.stages = nn.ModuleList(nn.ModuleList([nn.Linear(dim, dim)]) for _ in range(2))
        self.groupings = nn.ModuleList(nn.Linear(dim, count) for count in (6, 2))

    def forward(
        self, images: Tensor, superpixels: Tensor, attention: int | None = None
    ) -> Hierarchy:
        tokens = self.stem(images).flatten(2).mT
        tokens = tokens[:, :16]
        heads = Attention(tokens[..., :3].mT.softmax(-1), level=0)
        levels = []
        for (block,), grouping in zip(self.stages, self.groupings, strict=True):
            tokens = torch.tanh(block(tokens))
            scores = grouping(tokens)
            levels.append(Level(tokens, torch.zeros(tokens.shape[:2], dtype=torch.bool), scores))
            tokens = scores.softmax(1).mT @ tokens
        levels.append(Level(tokens, torch.zeros(tokens.shape[:2], dtype=torch.bool), None))
        looked = None if attention is None else heads
        labels = Superpixels.of(superpixels).map
        return Hierarchy(tokens.mean(1), labels, tuple(levels), attention=looked)


class TinyTask(LightningModule):
    """Pulls two views together.

    Args:
        bad_loss: The loss at `at_step` on process `on_rank`.
        error: Raised at `at_step`.
    """

    forward_passes = 6

    def __init__(
        self,
        bad_loss: float | None = None,
        error: BaseException | None = None,
        at_step: int = -1,
        on_rank: int = 0,
    ) -> None:
        super().__init__()
        self.bad_loss, self.error = bad_loss, error
        self.at_step, self.on_rank = at_step, on_rank
        self.backbone = TinyBackbone()
        self.head = nn.Linear(8, 4)

    def features(self, batch: dict[str, Any]) -> Tensor:
        return self.backbone(batch["images"], batch["superpixels"]).cls

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        struck = self.global_step == self.at_step and self.global_rank == self.on_rank
        if struck and self.error:
            raise self.error
        pairs = zip(batch["images"], batch["superpixels"], strict=True)
        first, second = (self.head(self.backbone(*pair).cls) for pair in pairs)
        loss = (first - second).square().mean()
        if struck and self.bad_loss is not None:
            loss = loss * self.bad_loss
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def tiny_data(batch_size: int = 8) -> ImageDataModule:
    return ImageDataModule(
        Blots, TwoViews(16), Grid(16), batch_size=batch_size, image_size=16, eval_crop=1, workers=0
    )


def tiny_trainer(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    """A quiet trainer; 6 steps in an epoch."""
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "use_distributed_sampler": False,
        "max_epochs": 1,
    }
    return Trainer(default_root_dir=folder, callbacks=list(callbacks), **(quiet | options))


def expected_score(task: TinyTask, memory: int | None, queries: int | None, k: int) -> float:
    """kNN accuracy of the features of a task, by one process and without callbacks."""
    data, encoded = tiny_data(), []
    task.eval()
    with torch.no_grad():
        for split, limit in (("train", memory), ("val", queries)):
            batches = [data.prepare(b, "cpu") for b in data.plain_dataloader(split, limit)]
            features = torch.cat([task.features(batch) for batch in batches])
            encoded += [features, torch.cat([batch["label"] for batch in batches])]
    task.train()
    return knn_hits(*encoded, 3, neighbours=k)[0].item() / len(encoded[-1])
