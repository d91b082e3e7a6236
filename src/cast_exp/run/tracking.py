"""What loggers are told of a run: what it is, what it is built on, and what came of it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

from cast_exp.checkpoints.files import best_weights
from cast_exp.checkpoints.load import Weights
from cast_exp.download.records import digest_of
from cast_exp.errors import UserError
from cast_exp.loggers.wandb_run import WandbRun, artifact_name, known_run_id
from cast_exp.run.folder import RUN, rank
from cast_exp.run.record import is_result
from cast_exp.run.saved import read_yaml
from cast_exp.run.searchable import searchable_config
from cast_exp.run.source import source_of
from cast_exp.viz.layers import Layers

_LOGGED = 16
"""Pictures of images, for each evaluation, that W&B gets; all are in the folder."""


def log_start(
    loggers: Iterable[Logger],
    folder: Path,
    config: Mapping[str, Any],
    checkpoint: str | None,
    weights: Weights,
) -> None:
    """Log the config. W&B gets it small (see `searchable_config`), and where weights are from.

    Args:
        loggers: Of the run.
        folder: Of the run.
        config: Resolved config; "plan" in it, if any, is `Plan` in plain values.
        checkpoint: What the run is built on; None for nothing.
        weights: Which of those there.
    """
    for logger in loggers if rank() == 0 else ():
        if not isinstance(logger, WandbRun):
            logger.log_hyperparams(dict(config))
            continue
        small = searchable_config(folder) | {"plan": config.get("plan")}
        if checkpoint:
            source = _tracked_source(checkpoint, weights)
            small["source"] = source
            logger.log_summary({f"source/{key}": value for key, value in source.items()})
            if "artifact" in source:
                logger.use_checkpoint(source["artifact"], source["sha256"])
        logger.log_hyperparams(small)


def log_training(
    loggers: Iterable[Logger], folder: Path, metrics: Mapping[str, float], step: int
) -> None:
    """Log the final figures of a training, and to W&B its best checkpoint.

    Args:
        loggers: Of the run.
        folder: Of the run.
        metrics: Final figures.
        step: Training steps in all.
    """
    for logger in loggers if rank() == 0 else ():
        if not isinstance(logger, WandbRun):
            continue
        logger.log_summary(metrics)
        try:
            best = best_weights(folder)
        except UserError:  # none was to be saved
            continue
        results = {name: value for name, value in metrics.items() if is_result(name)}
        variant = searchable_config(folder).get("variant")
        about = {"steps": step, "variant": variant, "metrics": results}
        logger.log_checkpoint(best, digest_of(best), about)


def log_evaluations(
    loggers: Iterable[Logger], figures: Mapping[str, float], folder: Path, step: int = 0
) -> None:
    """Log the figures of evaluations, and to W&B the tables and pictures that these have left.

    Only the first process does so.

    Args:
        loggers: Where to.
        figures: See `run_evaluations`.
        folder: Folder of the run, with a folder for each evaluation.
        step: Training steps that the weights have seen.
    """
    for logger in loggers if rank() == 0 else ():
        logger.log_metrics(dict(figures), step=step)
        if isinstance(logger, WandbLogger):
            for place in sorted({name.rpartition("/")[0] for name in figures}):
                _log_files(logger, place, folder / place, step)
        if isinstance(logger, WandbRun):
            rows = [[*name.rpartition("/")[::2], value] for name, value in figures.items()]
            logger.log_rows("evaluations", ["evaluation", "figure", "value"], rows, step)
        logger.save()


def _log_files(logger: WandbLogger, place: str, folder: Path, step: int) -> None:
    """Log what an evaluation has left in its folder."""
    if isinstance(logger, WandbRun):
        for path in sorted(folder.glob("*.csv")):
            logger.log_csv(f"{place}/{path.stem}", path, step)
    for path in sorted(folder.glob("*.png")):  # sizes differ, which W&B wants under other keys
        logger.log_image(f"{place}/{path.stem}", [str(path)], step=step)
    pictures = sorted((folder / "pictures").glob("*.png"))[:_LOGGED]
    if pictures:
        logger.log_image(place, list(map(str, pictures)), step=step)
    layers = [Layers.read(path) for path in sorted((folder / "pictures").glob("*.npz"))[:_LOGGED]]
    if layers:
        images, masks = [each.image for each in layers], [each.masks() for each in layers]
        logger.log_image(f"{place}/masks", images, step=step, masks=masks)


def _tracked_source(checkpoint: str, weights: Weights) -> dict[str, Any]:
    """A source, and the artifact that it is in W&B if its run was logged there."""
    source = source_of(checkpoint, weights)
    source["name"] = Path(source["run"] or checkpoint).name
    run = source["run"] and Path(source["run"])
    if run and "sha256" in source and (run_id := known_run_id(run)):
        project = read_yaml(run / RUN).get("logger", {}).get("wandb", {}).get("project")
        source["artifact"] = f"{project}/{artifact_name(run_id)}"
    return source
