"""Self-supervised pretraining by MoCo-v3 (Chen et al., 2021; paper, algorithm 2)."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Annotated, Any, Self

import torch
from lightning.pytorch import LightningDataModule
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from cast_exp.data.base import RawDataModule
from cast_exp.distributed import gather, require_equal
from cast_exp.errors import UserError
from cast_exp.losses import Regularizer, moco_loss
from cast_exp.models import Backbone, Hierarchy
from cast_exp.models.heads import ContrastiveMLP
from cast_exp.models.tokens import Reading
from cast_exp.ops import Superpixels
from cast_exp.optim import ParameterGroups, Schedule, cosine_momentum, decay_all
from cast_exp.tasks.base import BaseTask, Readout
from cast_exp.tasks.compilation import Compile


class MoCoTask(BaseTask):
    """Trains a backbone to recognise an image in another view of it.

    Queries of each view (backbone, projector, predictor) are contrasted with the keys of the other
    view (momentum encoder: a moving average of the parameters of backbone and projector, with batch
    statistics of its own) of all images in the global batch. Gradient accumulation does not add
    keys; the momentum encoder then moves once per optimizer step.

    Logs at each step, for the global batch: "train/loss" (with the regularisers),
    "train/contrast_accuracy" (share of queries whose own key is the most similar),
    "train/feature_spread" and "train/query_spread" (see `feature_spread`; towards 0 the training
    collapses), each regulariser under its name, and "train/momentum".

    Args:
        backbone: Makes hierarchies of images.
        optimizer: Makes a torch optimizer from parameter groups.
        schedule: Course of the learning rate.
        parameter_groups: Chooses the parameters to train and their decay.
        readout: What stands for an image: "cls" (class token) or "fused_mean" (mean of the fused
            features of its superpixels; needs a fusion block).
        seed: Seed of the run.
        temperature: Of the contrast.
        momentum: Of the momentum encoder at the start; it goes to 1 along half a cosine.
        hidden_dim: Width inside the projector and the predictor.
        projection_dim: Width of queries and keys.
        freeze_stem: Leave the stem as it is, its batch statistics too.
        regularizers: Losses on the groupings, by name.
        decay_last_grouping: Let weight decay shrink what shapes the last grouping of a dense model,
            which no loss trains, as the official release does.
        compile: See `BaseTask`.

    Raises:
        UserError: The backbone has no fusion block to read, or trains a grouping that no loss
            depends on.
    """

    views = 2
    forward_passes = 8  # a training pass and one of the momentum encoder for each view
    figures = ()

    def __init__(
        self,
        backbone: Backbone,
        optimizer: Callable[..., Optimizer],
        schedule: Schedule,
        parameter_groups: Callable[..., ParameterGroups] = decay_all,
        readout: Readout = "cls",
        seed: Annotated[int, Field(ge=0)] = 0,
        temperature: Annotated[float, Field(gt=0)] = 0.2,
        momentum: Annotated[float, Field(ge=0, le=1)] = 0.99,
        hidden_dim: Annotated[int, Field(ge=1)] = 4096,
        projection_dim: Annotated[int, Field(ge=1)] = 256,
        freeze_stem: bool = False,
        regularizers: Mapping[str, Regularizer] | None = None,
        decay_last_grouping: bool = False,
        compile: Compile = "auto",
    ) -> None:
        super().__init__(backbone, optimizer, schedule, parameter_groups, readout, seed, compile)
        self.temperature = temperature
        self.momentum = momentum
        self.freeze_stem = freeze_stem
        self.regularizers = nn.ModuleDict(dict(regularizers or {}))
        self.last_grouping = backbone.groups_last_stage and backbone.train_last_grouping
        if self.last_grouping and not self.regularizers:
            raise UserError(
                "model.train_last_grouping=true, but no loss depends on the last grouping; choose "
                "a regularizer or set it to false"
            )

        self.projector = ContrastiveMLP(backbone.dim, hidden_dim, hidden_dim, projection_dim)
        self.predictor = ContrastiveMLP(projection_dim, hidden_dim, projection_dim)
        self.momentum_backbone = deepcopy(backbone).requires_grad_(False)
        self.momentum_projector = deepcopy(self.projector).requires_grad_(False)
        self._decayed = [
            parameter
            for name, parameter in backbone.named_parameters()
            if name.startswith("groupings.") and not parameter.requires_grad
            if decay_last_grouping and backbone.fusion is not None
        ]
        if freeze_stem:
            backbone.stem.requires_grad_(False)
            self.train()  # Lightning trains a new module in the mode it finds it in

    def make_optimizer(self, groups: Any) -> Optimizer:
        """See `BaseTask`; what only decays is in the first group."""
        groups[0]["params"] = [*groups[0]["params"], *self._decayed]
        return super().make_optimizer(groups)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Give what only decays a gradient of zero; see `BaseTask`."""
        super().on_before_optimizer_step(optimizer)
        for parameter in self._decayed:
            parameter.grad = torch.zeros_like(parameter)

    def training_data(self, data: RawDataModule) -> LightningDataModule:
        """The images; see `BaseTask.training_data`.

        Raises:
            UserError: There is one image in a batch, be it the last of an epoch, and so nothing to
                contrast it with.
        """
        if data.batch_size < 2:
            raise UserError(
                f"data.batch_size={data.batch_size}: MoCo contrasts images of a batch, so there "
                "should be two or more; with few images, add some"
            )
        if not data.drop_last and len(data.raw("train")) % data.batch_size == 1:
            raise UserError(
                f"data.drop_last=false: the last of {len(data.raw('train'))} images would be a "
                "batch of its own, and MoCo contrasts images of a batch; set data.drop_last=true "
                "or another data.batch_size"
            )
        return super().training_data(data)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of all modules but a frozen stem, which stays in evaluation."""
        super().train(mode)
        if self.freeze_stem:
            self.backbone.stem.eval()
            self.momentum_backbone.stem.eval()
        return self

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Contrast the two views of a batch."""
        # Both views go through the transformer in one batch, and through batch norms one by one.
        images, superpixels = torch.cat(batch["images"]), Superpixels.cat(batch["superpixels"])
        reading = self.backbone.reading(images, superpixels)
        if batch_idx == 0 or self.trainer.is_last_batch:
            require_equal(len(batch["index"]), self.device)

        query = self.compiled(self._query)
        joined, feature, queries = query(images, superpixels, reading)
        momentum = cosine_momentum(self.momentum, self.progress)
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self._follow(momentum)
        with torch.no_grad():
            keys = self.compiled(self._key)(images, superpixels, reading)

        hierarchies = joined.chunk(self.views) if joined else []
        features = feature.chunk(self.views)
        (loss, accuracy), (other_loss, other_accuracy) = (
            moco_loss(query, key, self.temperature)
            for query, key in zip(queries, reversed(keys), strict=True)
        )
        loss = loss + other_loss
        figures = {
            "contrast_accuracy": (accuracy + other_accuracy) / 2,
            "feature_spread": torch.stack([feature_spread(x) for x in features]).mean(),
            "query_spread": torch.stack([feature_spread(x) for x in queries]).mean(),
        }
        for name, regularizer in self.regularizers.items():
            figures[name] = regularizer(*hierarchies)
            loss = loss + figures[name]
        if self.last_grouping:
            # Some of its weights may shape tokens that no regulariser reads; DDP waits for a
            # gradient of each.
            loss = loss + 0 * sum(hierarchy.levels[-1].tokens.sum() for hierarchy in hierarchies)

        self._log({"loss": loss} | figures)
        self.log("train/momentum", momentum)
        return loss

    def _query(
        self, images: Tensor, superpixels: Superpixels, reading: Reading | None
    ) -> tuple[Hierarchy | None, Tensor, list[Tensor]]:
        """Hierarchy (if a loss reads it), image vectors of all views, and the queries of each."""
        hierarchy = self.backbone(
            images,
            superpixels,
            last_grouping=self.last_grouping,
            reading=reading,
            views=self.views,
        )
        features = self.read(hierarchy)
        views = features.chunk(self.views)
        queries = [self.predictor(self.projector(view)) for view in views]
        return hierarchy if self.regularizers else None, features, queries

    def _key(
        self, images: Tensor, superpixels: Superpixels, reading: Reading | None
    ) -> list[Tensor]:
        hierarchy = self.momentum_backbone(
            images, superpixels, last_grouping=False, reading=reading, views=self.views
        )
        return [self.momentum_projector(view) for view in self.read(hierarchy).chunk(self.views)]

    def _follow(self, momentum: float) -> None:
        """Move the momentum encoder's parameters, and not its batch statistics, on."""
        average = get_ema_multi_avg_fn(momentum)  # type: ignore[no-untyped-call]
        average(
            [*self.momentum_backbone.parameters(), *self.momentum_projector.parameters()],
            [*self.backbone.parameters(), *self.projector.parameters()],
            None,
        )

    def _log(self, figures: dict[str, Tensor]) -> None:
        """Log the means over the processes, all in one exchange."""
        values = torch.stack([value.detach().float() for value in figures.values()])
        means = self.trainer.strategy.reduce(values, reduce_op="mean")
        for name, mean in zip(figures, means, strict=True):
            self.log(f"train/{name}", mean, prog_bar=name == "loss")


@torch.no_grad()
def feature_spread(features: Tensor) -> Tensor:
    """How far features (B, C) point in different directions, a float32 scalar.

    The standard deviation over the global batch of unit features, averaged over channels, times
    sqrt(C): about 1 for vectors in all directions, 0 when all are the same.
    """
    unit = F.normalize(gather(features.float()), dim=1)
    spread: Tensor = unit.std(0, correction=0).mean() * unit.size(1) ** 0.5
    return spread
