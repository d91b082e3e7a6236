"""A callback."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class WeightNorm(Callback):
    """Logs the norm of all weights that are trained, every so many steps."""

    def __init__(self, every_n_steps: int = 50) -> None:
        self.every_n_steps = every_n_steps

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            weights = [p for p in pl_module.parameters() if p.requires_grad]
            pl_module.log("train/weight_norm", torch.nn.utils.get_total_norm(weights))
