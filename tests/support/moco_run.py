"""A MoCo run on a real, tiny CAST and fixed batches, in one process or in two."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader

from cast_exp.distributed import SyncBatchNormPlugin, rank, world_size
from cast_exp.losses import CentroidContrastive, Clustering
from cast_exp.models import CAST, create_model
from cast_exp.models.config import Size
from cast_exp.models.pooling import Pooling
from cast_exp.ops import Superpixels
from cast_exp.optim import WarmupCosine
from cast_exp.tasks import MoCoTask

SIDE = 32
Batch = dict[str, Any]


def tiny_cast(dropout: bool = False, **options: Any) -> CAST:
    size = Size(24, (1, 1, 1, 1), 2)
    model = create_model(size, pooling=Pooling((8, 6, 4, 2)), image_size=32, **options)
    for module in model.modules():
        if isinstance(module, nn.Dropout) and not dropout:
            module.p = 0
    return model


def tiny_task(backbone: CAST | None = None, **options: Any) -> MoCoTask:
    """A task of small heads, plain gradient descent and a warm-up of one epoch."""
    settings: dict[str, Any] = {"hidden_dim": 16, "projection_dim": 8} | options
    optimizer = settings.pop("optimizer", partial(SGD, lr=0.1))
    return MoCoTask(backbone or tiny_cast(), optimizer, WarmupCosine(1), **settings)


def two_views(images: int, seed: int) -> Batch:
    """A batch whose first images have more superpixels than the last; one has a gap in them."""
    draw = torch.Generator().manual_seed(seed)
    grid = torch.arange(16).view(4, 4).repeat_interleave(8, 0).repeat_interleave(8, 1)
    superpixels = grid.expand(images, -1, -1).clone()
    superpixels[images // 2 :].clamp_(max=13)
    superpixels[1][superpixels[1] == 5] = 4
    return {
        "images": [torch.randn(images, 3, SIDE, SIDE, generator=draw) for _ in range(2)],
        "superpixels": [Superpixels.of(view, 16) for view in (superpixels, superpixels.flip(2))],
        "label": torch.zeros(images, dtype=torch.long),
        "index": torch.arange(images),
    }


def share(batch: Batch) -> Batch:
    """The consecutive part of a batch that this process gets."""

    def part(value: Any) -> Any:
        if isinstance(value, Superpixels):
            return Superpixels.of(mine(value.map), value.count)
        return [part(v) for v in value] if isinstance(value, list) else mine(value)

    def mine(tensor: Tensor) -> Tensor:
        return tensor.chunk(world_size())[rank()]

    return {key: part(value) for key, value in batch.items()}


class Recorder(Callback):
    """Keeps the figures, the gradients and the learning rate of every step."""

    def __init__(self) -> None:
        self.figures: list[dict[str, float]] = []
        self.gradients: list[dict[str, Tensor]] = []
        self.rates: list[float] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        named = pl_module.named_parameters()
        self.gradients.append({n: p.grad.clone() for n, p in named if p.grad is not None})
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.figures.append({k: v.item() for k, v in trainer.callback_metrics.items()})


def fit(
    task: MoCoTask,
    data: list[Batch] | LightningDataModule,
    *callbacks: Callback,
    checkpoint: Path | None = None,
    **options: Any,
) -> Recorder:
    """Train on data, or on this process's share of given batches, in double precision."""
    recorder = Recorder()
    settings: dict[str, Any] = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "precision": "64-true",
        "logger": False,
        "enable_checkpointing": any(isinstance(each, Checkpoint) for each in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "callbacks": [recorder, *callbacks],
    }
    trainer = Trainer(**(settings | options))
    if isinstance(data, list):
        loader = DataLoader([share(batch) for batch in data], batch_size=None)
        trainer.fit(task, loader, ckpt_path=checkpoint)
    else:
        trainer.fit(task, datamodule=data, ckpt_path=checkpoint)
    return recorder


Variant = Literal["cls", "fused_mean", "regularized", "compiled"]


def joint_run(variant: Variant, batches: list[Batch]) -> Mapping[str, Any]:
    """Two epochs on whatever processes there are, and what came of them."""
    torch.manual_seed(0)
    if variant == "regularized":
        regularizers = {"clustering": Clustering(), "centroids": CentroidContrastive()}
        backbone = tiny_cast(train_last_grouping=True)
        task = tiny_task(backbone, regularizers=regularizers)
    elif variant == "fused_mean":
        task = tiny_task(tiny_cast(fusion=True), readout="fused_mean")
    else:
        task = tiny_task(compile="aot_eager" if variant == "compiled" else False)
    together: dict[str, Any] = {}
    if world_size() > 1:
        together = {
            "strategy": DDPStrategy(process_group_backend="gloo"),
            "devices": world_size(),
            "plugins": SyncBatchNormPlugin(),
        }
    recorder = fit(task, batches, max_epochs=2, **together)
    return {
        "figures": recorder.figures,
        "gradients": recorder.gradients,
        "weights": dict(task.state_dict()),
        "graphs": task.compiled.graphs,
    }


def unequal_run(batches: list[Batch]) -> str:
    """What a run says whose processes have batches of different sizes."""
    mine = [{key: _first(value, 3 + rank()) for key, value in batch.items()} for batch in batches]
    try:
        task = tiny_task()
        Trainer(
            accelerator="cpu",
            strategy=DDPStrategy(process_group_backend="gloo"),
            devices=2,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(task, DataLoader(mine, batch_size=None))
    except Exception as error:
        return str(error)
    return ""


def _first(value: Any, count: int) -> Any:
    if isinstance(value, Superpixels):
        return Superpixels.of(value.map[:count], value.count)
    return [_first(v, count) for v in value] if isinstance(value, list) else value[:count]
