"""Runs of Weights & Biases: curves, tables, checkpoints and where these come from."""

import csv
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from cast_exp.errors import UserError
from cast_exp.extras import need_extra
from cast_exp.output.files import write_text

log = logging.getLogger(__name__)

Artifacts = Literal["upload", "reference", "none"]

_MOST_CELLS = 100_000
"""Of a table; a browser takes no more."""
_LONGEST_TAG = 64

_begun: list[Any] = []
"""The runs of W&B that this process has begun and not ended."""


class WandbRun(WandbLogger):
    """A W&B run whose steps are those of training.

    W&B's own step is `trainer/global_step`, so that a run that was resumed offline goes on where it
    was, and all of one step is in one row. Steps that a resumed run repeats join the row that it
    has reached.

    Args:
        artifacts: Whether checkpoints are uploaded, only referred to by path and digest, or left
            out.
        options: Of Lightning's `WandbLogger`.
    """

    def __init__(self, artifacts: Artifacts = "reference", **options: Any) -> None:
        super().__init__(**options)
        self.artifacts = artifacts
        self._reached = 0

    @rank_zero_only
    def begin(self) -> None:
        """Begin the run, or go on with it."""
        import wandb

        if wandb.run is None:
            _begun.append(self.experiment)
        self._reached = int(self.experiment.step or 0)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log at a step of training; None for the one that was logged last."""
        self._reached = max(self._reached, step or 0)
        row = {**metrics, "trainer/global_step": self._reached}
        self.experiment.log(row, step=self._reached)

    @rank_zero_only
    def log_csv(self, key: str, path: Path, step: int | None = None) -> None:
        """Log a CSV file with a header as a table, unless it is too large to look at."""
        with path.open(newline="", encoding="utf-8") as file:
            columns, *rows = csv.reader(file)
        if len(columns) * len(rows) > _MOST_CELLS:
            log.info("W&B gets no table of %s, it is too large", path)
            return
        self.log_rows(key, columns, rows, step)

    @rank_zero_only
    def log_rows(
        self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int | None
    ) -> None:
        """Log a table; texts that are numbers become numbers, and empty ones nothing."""
        import wandb

        data = [[_value(cell) for cell in row] for row in rows]
        table = wandb.Table(columns=list(columns), data=data, allow_mixed_types=True)
        self.log_metrics({key: table}, step)

    @rank_zero_only
    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Set values of the summary, which tables of runs show."""
        self.experiment.summary.update(dict(values))

    @rank_zero_only
    def log_checkpoint(self, path: Path, digest: str, about: Mapping[str, Any]) -> None:
        """Log a checkpoint as the artifact of this run; see `artifact_name`.

        Args:
            path: The file. It has to stay as it is until the run is uploaded.
            digest: Its SHA-256; an alias of the artifact, by which later runs find it.
            about: What else is known of it.
        """
        import wandb

        name = artifact_name(self.experiment.id)
        self.log_summary({"artifact/name": name, "artifact/sha256": digest})
        if self.artifacts == "none":
            return
        artifact = wandb.Artifact(name, "model", metadata={"sha256": digest, **about})
        if self.artifacts == "upload":
            artifact.add_file(str(path), path.name, policy="immutable", skip_cache=True)
        else:
            artifact.add_reference(path.resolve().as_uri(), path.name)
        try:
            self.experiment.log_artifact(artifact, aliases=[path.stem, digest_alias(digest)])
        except Exception as error:  # of the network or the account; the run goes on
            log.warning("W&B did not take %s as an artifact (%s)", path, error)

    @rank_zero_only
    def use_checkpoint(self, artifact: str, digest: str) -> None:
        """Say that this run is built on the artifact of another one.

        Offline, and where W&B does not have it (yet), `cast-exp dashboard` does so later, by what
        config and summary say of the source.

        Args:
            artifact: As "project/name".
            digest: SHA-256 of the checkpoint.
        """
        if self.experiment.offline:
            return
        try:
            self.experiment.use_artifact(f"{artifact}:{digest_alias(digest)}")
        except Exception as error:  # likewise
            log.info("W&B does not have %s, the source of this run, yet (%s)", artifact, error)


def artifact_name(run_id: str) -> str:
    """What the artifact of a run is called: its checkpoint."""
    return f"model-{run_id}"


def digest_alias(digest: str) -> str:
    """The alias of an artifact by which a checkpoint is found."""
    return f"sha256-{digest[:16]}"


def known_run_id(folder: Path) -> str | None:
    """The id that a run has in W&B; None if it was not logged there.

    Args:
        folder: Of the run.
    """
    path = _id_file(folder)
    return path.read_text().strip() if path.is_file() else None


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
    artifacts: Artifacts = "reference",
) -> WandbRun:
    """A W&B run, begun at once; a resumed run goes on with the one of its folder.

    Args:
        save_dir: Folder of the run; files of W&B go to its subfolder `wandb`.
        project: Project the run belongs to.
        name: Display name; that of the folder for None.
        group: Runs of one group are shown together, e.g. the jobs of a multirun.
        job_type: Kind of job, e.g. "pretrain".
        tags: Labels to search for.
        notes: Free text.
        entity: User or team; None for the default of the account.
        offline: Write to disk only, for a later `wandb sync`; so does WANDB_MODE=offline.
        artifacts: What becomes of the best checkpoint: "upload", "reference" (path and digest
            only) or "none".

    Raises:
        UserError: wandb is not installed, or does not start.
    """
    need_extra("wandb", "logger=wandb", "wandb", instead="use logger=csv")
    import wandb

    offline = offline or os.environ.get("WANDB_MODE") == "offline"
    logger = WandbRun(
        artifacts=artifacts,
        name=name or Path(save_dir).resolve().name,
        save_dir=save_dir,
        id=_run_id(_id_file(save_dir)),
        project=project,
        group=group,
        job_type=job_type,
        tags=[str(tag)[:_LONGEST_TAG] for tag in tags],
        notes=notes,
        entity=entity,
        mode="offline" if offline else None,
        settings=wandb.Settings(quiet=True) if offline else None,  # `end_wandb` tells more
    )
    try:
        logger.begin()
    except wandb.errors.Error as error:
        raise UserError(_advice(error, entity, project)) from error
    return logger


def end_wandb(code: int) -> None:
    """End the W&B run that was begun here, if there is one; tell how to upload it if it is offline.

    Args:
        code: Exit code of the run.
    """
    while _begun:
        run = _begun.pop()
        run.finish(exit_code=code)
        if run.offline:
            log.info("W&B: upload this run with: %s", sync_command(Path(run.dir).parents[2]))


def sync_command(folder: Path) -> str | None:
    """The command that uploads what was logged offline in a folder; None if nothing was.

    Args:
        folder: Of a run, or of a multirun or search with the folders of runs in it.
    """
    for jobs in ("", "*/"):
        if any(folder.glob(f"{jobs}wandb/offline-run-*")):
            return f"wandb sync {shlex.quote(str(folder))}/{jobs}wandb/offline-run-*"
    return None


def _advice(error: Exception, entity: str | None, project: str) -> str:
    """What to do about a run that does not start."""
    text = " ".join(str(error).split())
    later = "set WANDB_MODE=offline and upload later with `wandb sync`"
    if any(word in text.lower() for word in ("permission", "not found", "403", "404")):
        place = f"{entity}/{project}" if entity else project
        return (
            f"W&B did not start ({text}); correct the entity and the project, {place}, or {later}"
        )
    if any(
        word in text.lower() for word in ("connection", "deadline", "timed out", "no such host")
    ):
        return f"W&B cannot be reached ({text}); {later}"
    return f"W&B did not start ({text}); run `wandb login`, or {later}"


def _value(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell


def _id_file(folder: Path) -> Path:
    return Path(folder) / "wandb" / "run_id"


@rank_zero_only
def _run_id(path: Path) -> str:
    """The id that `path` keeps, made on first use; in a sweep of W&B its agent has made it."""
    if not path.is_file():
        given = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
        write_text(path, given or uuid4().hex[:8])
    return path.read_text()
