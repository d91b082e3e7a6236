"""What all tasks share: the backbone, its optimizer and schedule, and reproducible randomness."""

import inspect
import logging
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from cast_exp.checkpoints.classifier import Classifier
from cast_exp.checkpoints.files import CONFIG
from cast_exp.data import ImageDataModule
from cast_exp.data.base import RawDataModule
from cast_exp.errors import UserError
from cast_exp.models import Backbone, Hierarchy
from cast_exp.ops import Superpixels
from cast_exp.optim import (
    ParameterGroups,
    Schedule,
    change_settings,
    decay_all,
    settings_of,
)
from cast_exp.tasks.compilation import Compile, Compiler
from cast_exp.tasks.progress import count_epoch_in_work, steps_ahead

log = logging.getLogger(__name__)

COURSE = "course"
"""Key under which checkpoints say what epochs and optimizer they are of."""

Data = TypeVar("Data", bound=RawDataModule)

Readout = Literal["cls", "fused_mean"]
"""What stands for an image: the class token, or the mean of the fused superpixel features."""


def read_out(hierarchy: Hierarchy, readout: Readout) -> Tensor:
    """Image vectors (B, C) of a hierarchy.

    Raises:
        UserError: The backbone has no fusion block to read.
    """
    if readout == "fused_mean" and hierarchy.fused is None:
        raise UserError("readout=fused_mean needs a fusion block; set model.fusion=true")
    return hierarchy.cls if readout == "cls" else hierarchy.fused_mean()


class BaseTask(LightningModule):
    """A backbone in training.

    Dropout and the like draw from (`seed`, step, batch, rank), so that a resumed run draws what the
    straight one does. Logs "train/grad_norm", the norm of all gradients together before clipping;
    it is not finite where half precision overflowed and the step was left out.

    Args:
        backbone: Makes hierarchies of images.
        optimizer: Makes a torch optimizer from parameter groups.
        schedule: Course of the learning rate over `trainer.max_epochs`, followed at every step;
            `trainer.max_steps` only cuts it short, or is all of it where there are no epochs.
        parameter_groups: Chooses the parameters to train, their decay and multiples of the rate
            (`lr_scale`), of this whole module.
        readout: "cls" or "fused_mean"; the second needs a fusion block.
        seed: Seed of the run.
        compile: Whether training steps are compiled; see `tasks.compilation.Compile`. Evaluation
            is not, as its images may have any size.

    Raises:
        UserError: The backbone has no fusion block to read.
    """

    views: ClassVar[int] = 1
    """Views of an image in a training batch."""
    forward_passes: ClassVar[int] = 3
    """Forward passes that a training step is worth for an image; a backward pass counts as two."""
    trains_on: ClassVar[type[RawDataModule]] = ImageDataModule
    """Kind of data that it takes."""

    averages: ClassVar[bool] = False
    """Whether checkpoints hold a moving average of the backbone, as `checkpoints.files.AVERAGE`."""

    evaluated_by: ClassVar[str | None] = None
    """Evaluation of what it trains, which `cast_exp.eval` runs unless told otherwise."""

    figures: ClassVar[tuple[str, ...] | None] = None
    """Names of the figures of validation that it may log, as patterns; None if it does not say."""

    def __init__(
        self,
        backbone: Backbone,
        optimizer: Callable[..., Optimizer],
        schedule: Schedule,
        parameter_groups: Callable[..., ParameterGroups] = decay_all,
        readout: Readout = "cls",
        seed: int = 0,
        compile: Compile = "auto",
    ) -> None:
        super().__init__()
        if readout == "fused_mean" and backbone.fusion is None:
            raise UserError("task.readout=fused_mean needs a fusion block; set model.fusion=true")
        self.backbone = backbone
        self.optimizer = optimizer
        self.schedule = schedule
        self.parameter_groups = parameter_groups
        self.readout = readout
        self.seed = seed
        self.compiling = compile
        self._gradients: dict[str, Tensor] = {}
        self._ahead = 0  # see `steps_ahead`
        self._before: dict[str, Any] | None = None  # what the checkpoint says of its course
        self._settings: list[dict[str, Any]] = []  # of the groups, as configured
        self._step = -1  # that the batch in work belongs to
        self._graphs: int | None = None  # compiled by the end of the last epoch

    def training_data(self, data: RawDataModule) -> LightningDataModule:
        """What to train on, given the data of the run: the same, unless a task knows better.

        Raises:
            UserError: Data of another kind than the task takes, or an augmentation that makes
                another number of views.
        """
        images = self.of_kind(ImageDataModule, data)
        made = 0 if images.views is None else len(images.views.transforms)
        if made != self.views:
            raise UserError(
                f"{type(self).__name__} trains on {self.views} view{'s' * (self.views > 1)} of an "
                f"image, but the augmentation makes {made}; choose another augmentation"
            )
        return images

    def of_kind(self, kind: type[Data], data: RawDataModule) -> Data:
        """The data, once it is of the kind that this task trains on.

        Raises:
            UserError: It is not.
        """
        if not isinstance(data, kind):
            raise UserError(
                f"{type(self).__name__} trains on {kind.holds}, but these data have {data.holds}; "
                "choose data and task that go together"
            )
        return data

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what it takes to build the backbone and to go on, with gradients that await a step.

        Of several processes only the first saves, so what each has gathered for the step is lost.
        """
        if self.backbone.config is not None:
            checkpoint[CONFIG] = self.backbone.config.to_dict()
        checkpoint[COURSE] = {
            "batches": self.trainer.num_training_batches,
            "accumulate": self.trainer.accumulate_grad_batches,
            "steps_per_epoch": self.steps_per_epoch,
            "ahead": self._ahead,
            "optimizer": [type(optimizer).__name__ for optimizer in self.trainer.optimizers],
            "settings": self._settings,
        }
        inside = self.trainer.accumulate_grad_batches > 1 and self.global_step == self._step
        if inside and self.trainer.world_size == 1:
            gradients = {name: p.grad for name, p in self.named_parameters() if p.grad is not None}
            checkpoint["gradients"] = gradients

    def classifier_of(self, layer: nn.Linear) -> Classifier:
        """A layer that is trained on the classes of the trainer's data."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        return Classifier(layer, self.readout, tuple(map(str, getattr(data, "classes", ()))))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep these for the start of training, before which Lightning drops gradients."""
        count_epoch_in_work(checkpoint)
        self._gradients = checkpoint.get("gradients", {})
        self._before = checkpoint.get(COURSE)

    def on_train_start(self) -> None:
        """Take these up again, at the same share of the training if its steps are others now.

        What is configured otherwise than before of the optimizer, such as its rate, takes effect.
        """
        if self._before is not None:
            before, self._before = self._before, None
            self._ahead = steps_ahead(self.trainer, before, int(self.steps_per_epoch))
            if before["accumulate"] != self.trainer.accumulate_grad_batches or (
                before["batches"] != self.trainer.num_training_batches
            ):
                self._gradients.clear()
            schedule = self.lr_schedulers()
            if isinstance(schedule, LambdaLR):
                change_settings(schedule, before["settings"], self._settings)
        while self._gradients:
            name, gradient = self._gradients.popitem()
            self.get_parameter(name).grad = gradient.to(self.device)

    @cached_property
    def compiled(self) -> Compiler:
        """Compiles what training steps are made of, if that is wanted."""
        return Compiler(self.compiling, self.device.type == "cuda")

    def __getstate__(self) -> dict[str, Any]:
        """Copies compile anew: what is compiled reads the weights of this task."""
        state: dict[str, Any] = super().__getstate__()
        return {key: value for key, value in state.items() if key != "compiled"}

    def on_fit_end(self) -> None:
        """Let go of what was compiled."""
        self.compiled.release()

    def on_train_epoch_end(self) -> None:
        """Tell of graphs that were compiled in vain."""
        if self._graphs is not None and self.compiled.graphs > self._graphs:
            log.warning(
                "training was compiled anew in epoch %d (graph %d): its shapes are not fixed",
                self.current_epoch,
                self.compiled.graphs,
            )
        self._graphs = self.compiled.graphs

    def features(self, batch: dict[str, Any]) -> Tensor:
        """Image vectors (B, C) of a plain batch."""
        return self.encode(batch["images"], batch["superpixels"])

    def encode(self, images: Tensor, superpixels: Superpixels) -> Tensor:
        """Image vectors (B, C) of images."""
        return self.read(self.backbone(images, superpixels, last_grouping=False))

    def read(self, hierarchy: Hierarchy) -> Tensor:
        """Image vectors (B, C) of a hierarchy."""
        return read_out(hierarchy, self.readout)

    @property
    def steps_per_epoch(self) -> float:
        """Optimizer steps in an epoch; infinite until Lightning has counted the batches."""
        steps = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        return math.ceil(steps) if math.isfinite(steps) else steps

    @property
    def epochs(self) -> int:
        """Epochs that schedules run over; those that the steps fill if the trainer has no number.

        Raises:
            UserError: The trainer has neither.
        """
        epochs, steps = self.trainer.max_epochs, self.trainer.max_steps
        if epochs is not None and epochs > 0:
            return epochs
        if steps < 1:
            raise UserError("schedules need an end; set trainer.max_epochs")
        return max(1, math.ceil(steps / self.steps_per_epoch))

    @property
    def steps(self) -> float:
        """Steps that schedules run over; infinite until Lightning has counted the batches."""
        epochs, steps = self.trainer.max_epochs, self.trainer.max_steps
        if (epochs is None or epochs < 1) and steps > 0:
            return steps
        return self.epochs * self.steps_per_epoch

    @property
    def progress(self) -> float:
        """Share of the training gone by, 0..1."""
        return min(self._gone(self.global_step) / self.steps_per_epoch / self.epochs, 1.0)

    def _gone(self, step: int) -> int:
        """Steps that a straight run has made when this one, whose epochs may have changed, has."""
        counted_in_steps = self.trainer.max_epochs in (None, -1)
        return step if counted_in_steps else step + self._ahead

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and a schedule that is followed at every step."""
        optimizer = self.make_optimizer(self.parameter_groups(self))
        for group in optimizer.param_groups:
            group["lr"] *= group.get("lr_scale", 1)
        return self.scheduled(optimizer)

    def make_optimizer(self, groups: Any) -> Optimizer:
        """The optimizer of parameter groups; on CUDA as one kernel, where it can be.

        With scaled gradients (float16) it would undo the scale inside of that, behind the back of
        clipping and of what is logged.
        """
        fused = self.device.type == "cuda" and not str(self.trainer.precision).startswith("16")
        takes = "fused" in inspect.signature(self.optimizer).parameters
        takes &= not {"fused", "foreach"} & getattr(self.optimizer, "keywords", {}).keys()
        return self.optimizer(groups, **({"fused": True} if fused and takes else {}))

    def scheduled(self, optimizer: Optimizer) -> OptimizerLRScheduler:
        """An optimizer, with a schedule that multiplies the rates of its groups at every step."""
        schedule = LambdaLR(optimizer, self._rate)
        self._settings = settings_of(optimizer)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _rate(self, step: int) -> float:
        # Asked for step 0 before Lightning has counted the batches. To have it count them then
        # (as trainer.estimated_stepping_batches does) would keep it from resuming in mid-epoch.
        gone = self._gone(step)
        if self.schedule.unit == "step":
            return self.schedule.factor(min(gone, self.steps), self.steps)
        return self.schedule.factor(min(gone / self.steps_per_epoch, self.epochs), self.epochs)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the random generators."""
        self._step = self.global_step
        key = (self.seed, self.global_step, batch_idx, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the norm of the gradients, which are no longer scaled here."""
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        self.log("train/grad_norm", norm, on_step=True, on_epoch=False)
