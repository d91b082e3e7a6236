"""Loggers as the config names them: a CSV file, W&B, TensorBoard."""

import csv
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from cast_exp.errors import UserError
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


def wandb_logger(
    save_dir: Path,
    project: str = "cast_exp",
    name: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] = (),
    notes: str | None = None,
    entity: str | None = None,
    offline: bool = False,
) -> WandbLogger:
    """A W&B run, begun at once; a resumed run goes on with the one of its folder.

    Args:
        save_dir: Folder of the run; files of W&B go to its subfolder `wandb`.
        project: Project the run belongs to.
        name: Display name; that of the folder for None.
        group: Runs of one group are shown together, e.g. the jobs of a multirun.
        job_type: Kind of job, e.g. "train".
        tags: Labels to search for.
        notes: Free text.
        entity: User or team; None for the default of the account.
        offline: Write to disk only, for a later `wandb sync`; so does WANDB_MODE=offline.

    Raises:
        UserError: wandb is not installed, or does not start.
    """
    _need("wandb")
    import wandb

    logger = WandbLogger(
        name=name or Path(save_dir).resolve().name,
        save_dir=save_dir,
        id=_run_id(Path(save_dir) / "wandb" / "run_id"),
        project=project,
        group=group,
        job_type=job_type,
        tags=list(tags),
        notes=notes,
        entity=entity,
        mode="offline" if offline else None,
    )
    try:
        _ = logger.experiment
    except wandb.errors.Error as error:
        raise UserError(
            f"W&B did not start ({error}); run `wandb login`, or set logger.wandb.offline=true "
            "and upload later with `wandb sync`"
        ) from error
    return logger


def tensorboard_logger(save_dir: Path) -> TensorBoardLogger:
    """TensorBoard files in `<save_dir>/tensorboard`.

    Raises:
        UserError: tensorboard is not installed.
    """
    _need("tensorboard")
    return TensorBoardLogger(save_dir, name="tensorboard", version="", default_hp_metric=False)


def _need(package: str) -> None:
    if find_spec(package) is None:
        raise UserError(
            f"logger={package} needs the package {package}; "
            f"pip install 'cast-exp[{package}]', or use logger=csv"
        )


@rank_zero_only
def _run_id(path: Path) -> str:
    """The id that `path` keeps, made on first use."""
    if not path.is_file():
        write_text(path, uuid4().hex[:8])
    return path.read_text()
