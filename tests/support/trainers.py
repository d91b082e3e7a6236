"""Trainers on the CPU, with whatever processes there are or are made believe."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy

from cast_exp.data import RawDataModule
from cast_exp.distributed import world_size
from cast_exp.evaluation import Evaluation, Subject
from cast_exp.run.trainer import evaluation_trainers

Data = TypeVar("Data", bound=RawDataModule)


def on_rank(data: Data, rank: int, ranks: int) -> Data:
    """Data as one of several processes has them, without the others."""
    device = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(
        world_size=ranks, global_rank=rank, num_devices=ranks, strategy=device, callbacks=[]
    )
    return data


def make_trainer(precision: str = "32-true", **options: Any) -> Trainer:
    """A quiet trainer for an evaluation."""
    node: dict[str, Any] = {
        "_target_": "lightning.pytorch.Trainer",
        "accelerator": "cpu",
        "devices": world_size(),
        "strategy": "auto" if world_size() == 1 else DDPStrategy(process_group_backend="gloo"),
        "precision": precision,
    }
    quiet: dict[str, Any] = {"callbacks": [], "enable_progress_bar": False}
    return evaluation_trainers(node)(**(quiet | options))


def evaluate(evaluation: Evaluation, subject: Subject, folder: Path) -> dict[str, float]:
    """The figures of a subject."""
    return evaluation.evaluate(make_trainer, subject, folder)
