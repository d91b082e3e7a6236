"""What benchmarks/gpu.py measures, and on what: all that it calls of cast_exp is here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader

from cast_exp.models import Backbone, Pooling, create_model
from cast_exp.models.flops import FlopCount
from cast_exp.ops import Superpixels, farthest_tokens
from cast_exp.optim import Poly, WarmupCosine, finetuning_groups
from cast_exp.tasks import BaseTask, MoCoTask, SegmentationTask
from cast_exp.tasks.compilation import Compile

CLASSES = 21


@dataclass(frozen=True)
class Images:
    """Images of a row: how many, their side in pixels, superpixels along it, levels of a CAST."""

    batch: int
    side: int
    across: int
    levels: tuple[int | float, ...]


@dataclass(frozen=True)
class Scale:
    """How much there is of everything; `tiny` puts the tiny model of a family for each."""

    recognition: Images
    dense: Images
    matrix: int
    hidden: int
    tiny: bool
    precision: str
    backend: Literal["inductor", "aot_eager"]


FULL = Scale(
    Images(256, 224, 14, (64, 32, 16, 8)),
    Images(16, 512, 32, (320, 160, 80, 40)),
    matrix=8192,
    hidden=4096,
    tiny=False,
    precision="bf16-mixed",
    backend="inductor",
)
FRACTIONS = (1 / 3, 1 / 6, 1 / 12, 1 / 24)
SMALL = Scale(
    Images(2, 64, 8, FRACTIONS),
    Images(1, 128, 8, FRACTIONS),
    matrix=256,
    hidden=64,
    tiny=True,
    precision="32-true",
    backend="aot_eager",
)


class Batches(LightningDataModule):
    """The same batch again and again, on the device from the start."""

    semantic_classes = tuple(map(str, range(CLASSES)))

    def __init__(self, batch: dict[str, Any], count: int) -> None:
        super().__init__()
        self.batches = [batch] * count

    def train_dataloader(self) -> DataLoader[Any]:
        """The batches of an epoch."""
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]


def photos(images: Images, device: str, seed: int) -> Tensor:
    """Normalised images of coarse and fine blots, float (B, 3, S, S)."""
    draw = torch.Generator().manual_seed(seed)
    blots = [
        F.interpolate(
            torch.randn(images.batch, 3, cells, cells, generator=draw) / cells**0.5,
            (images.side, images.side),
            mode="bilinear",
        )
        for cells in (4, 12, 40)
    ]
    return torch.stack(blots).sum(0).to(device)


def superpixels(images: Images, device: str, seed: int) -> Superpixels:
    """Squares with wavy borders, some lost: another map for each image."""
    draw = torch.Generator().manual_seed(seed)
    waves = 3 * torch.randn(images.batch, 2, images.side // 8, images.side // 8, generator=draw)
    shift = F.interpolate(waves, (images.side, images.side), mode="bilinear")
    places = torch.arange(images.side)
    rows = (places[:, None] + shift[:, 0]) * images.across / images.side
    columns = (places + shift[:, 1]) * images.across / images.side
    labels = [x.long().clamp(0, images.across - 1) for x in (rows, columns)]
    maps = (labels[0] * images.across + labels[1]).to(device)
    return Superpixels.of(maps, images.across**2)


def backbone(name: str, scale: Scale, dense: bool = False) -> Backbone:
    images = scale.dense if dense else scale.recognition
    if scale.tiny:
        name = f"{name.partition('_')[0]}_tiny"
    pooling = Pooling(images.levels) if name.startswith("cast") else None
    options: dict[str, Any] = {"fusion": True, "sampling": "interpolated"} if dense else {}
    return create_model(name, pooling=pooling, image_size=images.side, **options)


def forward(model: nn.Module, images: Tensor, maps: Superpixels) -> object:
    return model(images, maps, last_grouping=False)


def teraflops(model: Backbone, images: Images) -> float:
    """Operations of one forward pass over an image, in 1e12."""
    one = Images(1, images.side, images.across, images.levels)
    args = photos(one, "cpu", 0), superpixels(one, "cpu", 0)
    was_training = model.training
    with torch.no_grad():
        total = FlopCount(model.eval(), *args, last_grouping=False).total
    model.train(was_training)
    return total / 1e12


def moco(
    model: Backbone, scale: Scale, device: str, seed: int, compile: Compile
) -> tuple[BaseTask, Any]:
    """MoCo-v3 by the recipe of conf/optim/moco.yaml, and a batch."""
    images = scale.recognition
    optimizer = partial(AdamW, lr=1.5e-4, weight_decay=0.1)
    batch = {
        "images": [photos(images, device, seed + view) for view in (0, 1)],
        "superpixels": [superpixels(images, device, seed + view) for view in (0, 1)],
        "index": torch.arange(images.batch, device=device),
    }
    schedule = WarmupCosine(0)
    task = MoCoTask(model, optimizer, schedule, seed=seed, hidden_dim=scale.hidden, compile=compile)
    return task, batch


def segmentation(
    model: Backbone, scale: Scale, device: str, seed: int, compile: Compile
) -> tuple[BaseTask, Any]:
    """Fine-tuning by the recipe of conf/optim/segmentation.yaml, and a batch of crops."""
    images = scale.dense
    optimizer = partial(SGD, lr=3e-3, momentum=0.9, weight_decay=1e-4)
    maps = superpixels(images, device, seed).map
    half = maps[:, ::2, ::2].contiguous()
    batch = {
        "images": photos(images, device, seed),
        "superpixels": Superpixels.of(half, images.across**2),
        "semantic": maps % CLASSES,
        "index": torch.arange(images.batch, device=device),
    }
    groups = partial(finetuning_groups, head=10.0, bias=2.0)
    return SegmentationTask(model, optimizer, Poly(), groups, seed=seed, compile=compile), batch


def fit(task: BaseTask, batch: Any, count: int, scale: Scale, callbacks: list[Callback]) -> None:
    """Train for `count` steps, on a device that the batch is on."""
    device = torch.utils._pytree.tree_leaves(batch)[0].device  # of the images
    trainer = Trainer(
        accelerator=device.type,
        devices=1,
        precision=scale.precision,  # type: ignore[arg-type]
        max_epochs=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )
    trainer.fit(task, datamodule=Batches(batch, count))


def matrix_product(scale: Scale, device: str) -> Callable[[], object]:
    dtype = torch.bfloat16 if scale.precision == "bf16-mixed" else torch.float32
    left, right = torch.randn(2, scale.matrix, scale.matrix, device=device, dtype=dtype)
    return lambda: left @ right


def farthest_points(tokens: int, count: int, scale: Scale, device: str) -> Callable[[], object]:
    points = torch.randn(scale.recognition.batch, tokens, 384, device=device)
    padding = torch.zeros(points.shape[:2], dtype=torch.bool, device=device)
    return lambda: farthest_tokens(points, count, padding, masked=True)
