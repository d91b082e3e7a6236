"""The progress bar."""

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from cast_exp.callbacks import ProgressBar


class Shown(Callback):
    """Notes what the bar of an epoch is called."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.names.append(trainer.progress_bar_callback.progress.tasks[-1].description.strip())


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        ({"max_epochs": -1, "max_steps": 2}, ["Epoch 0", "Epoch 1"]),
        ({"max_epochs": 2}, ["Epoch 0/1", "Epoch 1/1"]),
    ],
)
def test_a_run_of_steps_has_no_last_epoch(length: dict[str, int], shown: list[str]) -> None:
    names = Shown()
    trainer = Trainer(
        **length,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        limit_train_batches=1,
        limit_val_batches=0,
        callbacks=[ProgressBar(), names],
    )
    trainer.fit(BoringModel())
    assert names.names == shown
