"""What every evaluation is."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule, Trainer

from cast_exp.data.base import RawDataModule
from cast_exp.distributed import gather_objects, together
from cast_exp.evaluation.subject import Subject

MakeTrainer = Callable[..., Trainer]
"""Makes a trainer on the devices, in the precision and by the strategy that were chosen; takes
further arguments of a `Trainer`."""


class BaseEvaluation(LightningModule, ABC):
    """Measures a backbone on the data it was built with.

    Args:
        data: What it is measured on.
    """

    headline: ClassVar[tuple[str, ...]]
    """Names of the figures to show first, those that matter most."""

    def __init__(self, data: RawDataModule) -> None:
        super().__init__()
        self.data = data

    @abstractmethod
    def check(self, subject: Subject | None = None) -> None:
        """Look whether the data are there and fit, before anything is computed.

        Args:
            subject: If it is known already, whether it can be evaluated is looked at as well.

        Raises:
            UserError: They are not, or it cannot.
        """

    @abstractmethod
    def evaluate(
        self, make_trainer: MakeTrainer, subject: Subject, folder: Path
    ) -> dict[str, float]:
        """Evaluate, on all processes of the trainer at the same time.

        Args:
            make_trainer: See there.
            subject: It is not changed, but for being on the CPU and in evaluation mode afterwards.
            folder: For files (tables, pictures, what to go on from when interrupted); made if
                needed.

        Returns:
            Figures by name, the same on all processes.

        Raises:
            UserError: The backbone cannot be evaluated so; the evaluation failed on another process
                (it then fails on all).
        """


class Evaluation(BaseEvaluation):
    """Measures a backbone by `Trainer.test`.

    One that is added says what its loaders are (`test_dataloader`, this process's share), what is
    done with a batch (`test_step`, under the trainer's precision, without waiting for another
    process), what of it others need to know (`share`), and what figures are made of the shares of
    all (`compute`).
    """

    passes: ClassVar[tuple[str, ...]] = ("images",)
    """What is gone through, one after the other, all processes waiting for each other between."""

    subject: Subject
    """What is evaluated; while it is."""

    folder: Path
    """Where files go; while it is evaluated."""

    going: str
    """Which of the passes it is."""

    def __init__(self, data: RawDataModule) -> None:
        super().__init__(data)
        # There may be fewer images left than processes.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def evaluate(
        self, make_trainer: MakeTrainer, subject: Subject, folder: Path
    ) -> dict[str, float]:
        """See `BaseEvaluation.evaluate`."""
        kept = vars(self) | {"_modules": self._modules.copy()}
        try:
            trainer = self.trainer = self.data.trainer = make_trainer(default_root_dir=folder)
            self.subject, self.folder = subject, folder
            # Registered, hence moved to the device: these share their weights with the above.
            self.networks = subject.networks.eval()
            together(self.prepare)
            for going in self.passes:
                self.going = going
                with warnings.catch_warnings():  # about there being nothing left to do
                    warnings.filterwarnings("ignore", "Total length of .* across ranks is zero")
                    together(trainer.test, self, verbose=False)
            return together(self.compute, gather_objects(self.share()))
        finally:
            self.data.trainer = None
            vars(self).clear()
            vars(self).update(kept)

    def prepare(self) -> None:
        """Look at what is there already; no process writes while one of them is at this."""

    @abstractmethod
    def share(self) -> Any:
        """What this process has found, with tensors on the CPU."""

    @abstractmethod
    def compute(self, shares: Sequence[Any]) -> dict[str, float]:
        """Make figures, and files on the first process, of what all processes have found.

        Args:
            shares: By rank.
        """

    def in_full_precision(self) -> torch.autocast:
        """For what in a step is not the network."""
        return torch.autocast(self.device.type, enabled=False)
