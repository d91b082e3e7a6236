"""Runs evaluations: of what a run has trained, or of given weights."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger
from rich.console import Console
from rich.table import Column, Table

from cast_exp.errors import UserError
from cast_exp.evaluation import BaseEvaluation, MakeTrainer, Subject
from cast_exp.output.files import write_text
from cast_exp.output.markdown import markdown_table
from cast_exp.output.rounding import rounded
from cast_exp.run.build import build
from cast_exp.run.folder import rank
from cast_exp.run.trainer import ending_well, start_processes

log = logging.getLogger(__name__)

_LOGGED = 16
"""Pictures of images, for each evaluation, that W&B gets; all are in the folder."""


def chosen_evaluations(names: Sequence[str], nodes: Mapping[str, Any]) -> dict[str, BaseEvaluation]:
    """Build evaluations, and look whether their data are there.

    Args:
        names: Which.
        nodes: Configs of all there are, by name.

    Raises:
        UserError: An unknown name, or data that are missing or do not fit.
    """
    if unknown := [name for name in names if name not in nodes]:
        raise UserError(f"evaluate={list(names)}: {unknown[0]} is none of {', '.join(nodes)}")
    evaluations: dict[str, BaseEvaluation] = {name: build(nodes[name]) for name in names}
    for evaluation in evaluations.values():
        evaluation.check()
    return evaluations


def run_evaluations(
    evaluations: Mapping[str, BaseEvaluation],
    subjects: Mapping[str, Subject],
    make_trainer: MakeTrainer,
    folder: Path,
    title: str = "trained",
) -> dict[str, float]:
    """Evaluate one backbone or several, and set them side by side in a table.

    An evaluation that fails takes nothing along: it is logged, and the others go on. Each works in
    a folder of its own, in which it may keep what it would not like to compute again. All processes
    of the trainers run this, and get the same figures; the first one tells of them.

    Args:
        evaluations: By name.
        subjects: By what stands before the names of their figures: "" for the one of the run.
        make_trainer: See `evaluation_trainers`.
        folder: Folder of the run; `evaluations.md` there is the table.
        title: What the table calls the subject of no name.

    Returns:
        Figures as "<evaluation>/<name>", and "<subject>/<evaluation>/<name>" of the others; those
        that are not defined, such as boundary F where nothing has a boundary, are left out.

    Raises:
        Stopped: By a signal; what is done is kept.
        UserError: An evaluation failed, after all have had their turn and with the figures of the
            others logged and in the table.
    """
    titles = ["%", *(name or title for name in subjects)]
    figures: dict[str, float] = {}
    rows: list[list[str]] = []
    failed = []
    first = make_trainer()
    with ending_well(first):
        start_processes(first)
        for (name, evaluation), (whose, subject) in product(evaluations.items(), subjects.items()):
            place = "/".join(filter(None, [whose, name]))
            log.info("evaluation: %s", place)
            try:
                found = evaluation.evaluate(make_trainer, subject, folder / place)
            except Exception as error:
                known = isinstance(error, UserError)
                if rank() == 0 or not known:  # where it happened is where its trace is
                    log.error("%s failed: %s", place, error, exc_info=not known)
                failed.append(f"{place} ({error})")
            else:
                found = {key: value for key, value in found.items() if isfinite(value)}
                figures |= {f"{place}/{key}": value for key, value in found.items()}
                shown = [key for key in evaluation.headline if key in found]
                log.info("%s: %s", place, "  ".join(f"{k} {rounded(found[k])}" for k in shown))
            if rank() == 0:
                rows = _rows(evaluations, list(subjects), figures)
                table = markdown_table([titles, *rows], numbers=True)
                write_text(folder / "evaluations.md", table)
        if figures and rank() == 0:
            Console().print(_table(titles, rows))
        if failed:
            raise UserError(
                f"these evaluations failed: {'; '.join(failed)}; the others are in {folder}"
            )
    return figures


def log_evaluations(
    loggers: Iterable[Logger], figures: Mapping[str, float], folder: Path, step: int = 0
) -> None:
    """Hand the figures to loggers, and W&B the pictures that the evaluations have left as well.

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
                pictures = sorted((folder / place).glob("*.png"))
                pictures += sorted((folder / place / "pictures").glob("*.png"))[:_LOGGED]
                if pictures:
                    logger.log_image(place, list(map(str, pictures)), step=step)
        logger.save()


def _rows(
    evaluations: Mapping[str, BaseEvaluation], subjects: list[str], figures: Mapping[str, float]
) -> list[list[str]]:
    """The headline figures, in percent, with a column for each subject."""
    rows = []
    for name, evaluation in evaluations.items():
        for key in evaluation.headline:
            places = ["/".join(filter(None, [subject, name, key])) for subject in subjects]
            if any(place in figures for place in places):
                cells = [f"{100 * figures[p]:.1f}" if p in figures else "-" for p in places]
                shown = f"{name} {key}".replace("_", " ").replace("/level0", " of superpixels")
                rows.append([shown, *cells])
    return rows


def _table(titles: list[str], rows: list[list[str]]) -> Table:
    columns = (Column(title, justify="right") for title in titles[1:])
    table = Table(titles[0], *columns, title="evaluations", title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table
