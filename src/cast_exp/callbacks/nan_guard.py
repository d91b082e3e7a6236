"""Stops a run whose loss is no longer a number, and keeps what is needed to find out why.

It also stops all processes at the same step when one of them has received a signal.
"""

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from cast_exp.distributed import signals
from cast_exp.errors import UserError
from cast_exp.ops import Superpixels
from cast_exp.output.files import atomic_write


class NonFiniteLoss(UserError):
    """The loss or the weights became NaN or infinite."""


@dataclass
class _Step:
    """A training step whose loss has not been looked at."""

    number: int
    epoch: int
    batch_idx: int
    batch: Any
    loss: Tensor
    told: Tensor  # whether the loss of any process is bad, and the signal that any has received
    ready: torch.Event | None


class NanGuard(Callback):
    """Ends the run at the first NaN or infinite loss and saves the batch that caused it.

    Each process whose loss it is writes `<run>/nan/step<n>_rank<r>.pt`: a dict of the batch on the
    CPU, the loss, what names the step (step, epoch, batch_idx, rank) and the seed, for
    `torch.load(path, weights_only=True)`. All processes stop at the same step. No checkpoint is
    written with weights that are not finite: they are looked at before each save.

    Looking at a loss would make the host wait for the device. Therefore a loss is copied to the
    host in the background and looked at one step later, when the device already has the next step
    to work on; the price is that one batch more stays in device memory.

    A signal travels with it, at no cost: `cast_exp.distributed.signals` says how a run is stopped.
    The processes stop together, at the end of an optimiser step, so that the state is whole.

    Args:
        seed: Seed of the run, to be saved with the batch.
        checks: Whether losses and weights are looked at; if not, all that is left is to stop the
            processes together.
    """

    def __init__(self, seed: int | None = None, checks: bool = True) -> None:
        self.seed = seed
        self.checks = checks
        self._last: _Step | None = None
        self._stepped = False
        self._told = 0  # number of the signal that stops the run before the next step

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Have signals wait for the end of the step; before the first there is nothing to save.

        Raises:
            Stopped: A process had received a signal. Not before, so that all callbacks and loggers
                have seen the last step.
        """
        self._stop()
        if self._last is not None or trainer.global_step > 0:
            signals.hold()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss of the step before and send for this one's.

        Raises:
            NonFiniteLoss: It is NaN or infinite.
        """
        # With gradients accumulated over several batches not each of them ends a step.
        self._stepped = self._last is None or trainer.global_step > self._last.number
        self._look(trainer)
        self._hear()
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        loss = loss.detach()
        bad = (~loss.isfinite()).any().float()
        told = torch.stack([bad, torch.full_like(bad, signals.received())])
        if trainer.world_size > 1:
            torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
        told = told.to("cpu", non_blocking=True)
        ready = None
        if loss.device.type != "cpu":
            ready = torch.Event(loss.device)
            ready.record()
        place = trainer.global_step, trainer.current_epoch, batch_idx
        self._last = _Step(*place, batch, loss, told, ready)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """No step is being made: signals need not wait."""
        self._look(trainer)
        self._hear()
        self._stop()
        signals.release()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the last loss before anything is made of the weights."""
        self._look(trainer)
        self._hear()
        self._stop()
        signals.release()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to save weights that are not finite.

        Raises:
            NonFiniteLoss: The last loss or a weight is NaN or infinite.
        """
        self._look(trainer)
        if not self.checks:
            return
        finite = torch.stack([weight.isfinite().all() for weight in pl_module.parameters()])
        if self._last and not bool(finite.all()):
            raise self._error(trainer, self._last, "some weights are")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go of the last batch."""
        self._last = None

    def _look(self, trainer: Trainer) -> None:
        if self._last is None:
            return
        if self._last.ready:
            self._last.ready.synchronize()
        if self.checks and self._last.told[0]:
            raise self._error(trainer, self._last, "the loss is")

    def _hear(self) -> None:
        """Take note of a signal that the last vote has told of, if a step has ended since."""
        if self._last and self._stepped:
            self._told = self._told or int(self._last.told[1])

    def _stop(self) -> None:
        if self._told:
            signals.end()
            raise signals.Stopped(self._told)

    def _error(self, trainer: Trainer, step: _Step, what: str) -> NonFiniteLoss:
        folder = Path(trainer.default_root_dir) / "nan"
        path = folder / f"step{step.number:07d}_rank{trainer.global_rank}.pt"
        # With several processes only those whose own loss went wrong have a batch worth keeping.
        if not step.told[0] or not bool(step.loss.isfinite().all()):
            batch = move_data_to_device(step.batch, "cpu")
            content = {
                "batch": apply_to_collection(batch, Superpixels, attrgetter("map")),
                "loss": step.loss.cpu(),
                "step": step.number,
                "epoch": step.epoch,
                "batch_idx": step.batch_idx,
                "rank": trainer.global_rank,
                "seed": self.seed,
            }
            with atomic_write(path) as new, open(new, "wb") as file:
                torch.save(content, file)
        return NonFiniteLoss(
            f"after step {step.number} {what} not finite; the batch and the seed are in {folder}. "
            "Resume from the last checkpoint, which is from before, with a smaller optim.base_lr, "
            "precision=bf16 or precision=fp32, or trainer.gradient_clip_val=1"
        )
