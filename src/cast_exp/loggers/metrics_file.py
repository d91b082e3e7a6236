"""Curves and figures as a CSV file in the folder of the run."""

import csv
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from cast_exp.output.files import room_for, write_csv, write_text


class MetricsFile(CSVLogger):
    """Writes `<save_dir>/metrics.csv`, which a resumed run continues.

    Lightning's own logger deletes the file it finds. A step that a resumed run repeats has two
    rows; the later one counts.

    Args:
        save_dir: Folder of the run.
        flush_logs_every_n_steps: Steps from one write to the next, the most a killed run loses.
    """

    def __init__(self, save_dir: Path, flush_logs_every_n_steps: int = 20) -> None:
        super().__init__(
            save_dir, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps
        )

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of the file."""
        if self._experiment is None:
            self._experiment = _ContinuedWriter(self.log_dir)
        return self._experiment


class _ContinuedWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        whole, end, cut_off = path.read_text(encoding="utf-8").rpartition("\n")
        if cut_off:  # by a kill or a full disk
            write_text(path, whole + end)
        self.metrics_keys = next(csv.reader([whole.partition("\n")[0]]), [])

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        with path.open(newline="", encoding="utf-8") as file:
            rows = [[row.get(name) for name in fieldnames] for row in csv.DictReader(file)]
        write_csv(path, [fieldnames, *rows])

    def log_hparams(self, params: dict[str, Any]) -> None:
        with room_for(Path(self.log_dir, self.NAME_HPARAMS_FILE)):
            super().log_hparams(params)

    def save(self) -> None:
        with room_for(Path(self.metrics_file_path)):
            super().save()
