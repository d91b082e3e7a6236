"""A trace and a table of the steps that were asked for."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from support.tiny_run import TinyTask, tiny_data, tiny_trainer
from torch import Tensor

from cast_exp.callbacks import Profile


class Slow(TinyTask):
    """Takes its time between two steps."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        time.sleep(0.3)
        return batch

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        assert loss.item() == loss.item()  # waits for the device
        return loss


@pytest.mark.parametrize(("steps", "recorded"), [(3, 3), (50, 4)])
def test_some_steps_are_recorded_with_what_they_waited_for(
    steps: int, recorded: int, tmp_path: Path
) -> None:
    callback = Profile(skip=2, steps=steps)
    tiny_trainer(tmp_path, callback).fit(Slow(), datamodule=tiny_data())  # six steps
    events = json.loads((tmp_path / "profile" / "trace.json").read_text())["traceEvents"]
    optimised = [e for e in events if str(e.get("name")).startswith("Optimizer.step#SGD")]
    assert len(optimised) == recorded
    summary, _, table = (tmp_path / "profile" / "table.txt").read_text().partition("\n\n")
    found = re.fullmatch(
        r"(\d+) steps in ([\d.]+) s; waiting for data ([\d.]+)%, for the device ([\d.]+)%", summary
    )
    assert found
    assert int(found[1]) == recorded
    seconds, share = float(found[2]), float(found[3]) / 100
    assert seconds * share >= 0.3 * recorded * 0.99
    assert float(found[4]) < 50
    assert "aten::convolution" in table or "conv" in table
    assert table.count("\n") < 40
