"""Where the time of training steps goes."""

import logging
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from pydantic import Field
from torch.profiler import ProfilerActivity, profile

from cast_exp.output.files import atomic_write, write_text

log = logging.getLogger(__name__)

_ROWS = 25  # of the slowest operations
_WIDTH = 60  # characters of their names
# Operations in which the host waits for the device.
_WAITS = ("Synchronize", "_local_scalar_dense", "aten::nonzero", "aten::equal", "cudaMemcpy")


class Profile(Callback):
    """Writes `<run>/profile/trace.json` and `table.txt` of some steps of the first process.

    The trace is for ui.perfetto.dev or chrome://tracing. The table has the share of the time that
    the host waited for data (between two steps: loading, copying, preparing) and for the device
    (inside of them: values that are read, copies), then the slowest operations by their own time,
    on the device if there is one.

    Args:
        skip: Steps before those that are recorded.
        steps: How many are; fewer if the run ends before.
    """

    def __init__(
        self, skip: Annotated[int, Field(ge=1)] = 5, steps: Annotated[int, Field(ge=1)] = 10
    ) -> None:
        self.skip, self.steps = skip, steps
        self._profiler: Any = None
        self._seen = 0
        self._between = self._inside = self._mark = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """End the wait for data."""
        self._between += self._lap()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Begin after the steps to skip, end after those to record."""
        self._inside += self._lap()
        self._seen += 1
        if self._seen == self.skip and trainer.is_global_zero:
            on_device = pl_module.device.type == "cuda"
            activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_device]
            self._profiler = profile(activities=activities)
            self._profiler.start()
            self._between = self._inside = 0.0
            self._lap()
        elif self._seen == self.skip + self.steps:
            self._write(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do not count what ran between two epochs."""
        self._lap()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what there is of a run that was too short."""
        self._write(trainer, pl_module)

    def _lap(self) -> float:
        former, self._mark = self._mark, perf_counter()
        return self._mark - former

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._profiler is None:
            return
        self._profiler.stop()
        profiler, self._profiler = self._profiler, None
        folder = Path(trainer.default_root_dir) / "profile"
        with atomic_write(folder / "trace.json") as new:
            profiler.export_chrome_trace(str(new))
        events = profiler.key_averages()
        kind = "device" if pl_module.device.type == "cuda" else "cpu"
        waits = sum(e.self_cpu_time_total for e in events if any(w in e.key for w in _WAITS)) / 1e6
        total = self._between + self._inside
        steps = self._seen - self.skip
        summary = (
            f"{steps} steps in {total:.3f} s; waiting for data {self._between / total:.1%}, "
            f"for the device {waits / total:.1%}"
        )
        table = events.table(f"self_{kind}_time_total", _ROWS, max_name_column_width=_WIDTH)
        write_text(folder / "table.txt", f"{summary}\n\n{table}\n")
        log.info("%s: %s", summary, folder / "table.txt")
