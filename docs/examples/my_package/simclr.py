"""An objective."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.extend import BaseTask, Superpixels


class SimCLR(BaseTask):
    """Contrasts two views of an image with the other images of the batch (Chen et al., 2020)."""

    views = 2
    forward_passes = 6

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        images, superpixels = torch.cat(batch["images"]), Superpixels.cat(batch["superpixels"])
        features = F.normalize(self.encode(images, superpixels))
        itself = torch.eye(len(features), dtype=torch.bool, device=self.device)
        similarity = (features @ features.T / 0.2).masked_fill(itself, float("-inf"))
        other_view = torch.arange(len(features), device=self.device).roll(len(features) // 2)
        loss = F.cross_entropy(similarity, other_view)
        self.log("train/loss", loss, prog_bar=True)
        return loss
