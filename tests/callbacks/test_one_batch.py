"""Steps on one batch, and what is said of them."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_run import TinyTask, tiny_data, tiny_trainer
from torch import Tensor

from cast_exp.callbacks import OneBatch
from cast_exp.output.rounding import rounded


class Seen(TinyTask):
    """Keeps what its steps were given, with a scheduler that begins at nothing."""

    def __init__(self, learns: bool) -> None:
        super().__init__()
        self.learns = learns
        self.images: list[Tensor] = []
        self.rates: list[float] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.images.append(batch["images"][0].clone())
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        loss = super().training_step(batch, batch_idx)
        return loss if self.learns else loss * 0 + 1

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.05)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 1000)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@pytest.mark.parametrize("learns", [True, False])
def test_one_batch_is_seen_at_the_peak_rate_and_whether_it_is_learned_is_told(
    learns: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    task, callback = Seen(learns), OneBatch()
    with caplog.at_level(logging.INFO):
        tiny_trainer(tmp_path, callback, max_epochs=5).fit(task, datamodule=tiny_data())
    assert len(task.images) == 30
    assert all(torch.equal(images, task.images[0]) for images in task.images)
    assert task.rates == [0.05] * 30
    first, last = float(callback.losses[0]), float(callback.losses[-1])
    assert (last < first / 2) == learns
    assert f"one batch, 30 steps: loss {rounded(first)} -> {rounded(last)}" in caplog.text
    assert ("not learned" in caplog.text) != learns
