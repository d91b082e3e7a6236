"""Evaluate a backbone: `python -m cast_exp.eval experiment=... checkpoint=...`; see `--help`."""

import logging
from pathlib import Path
from typing import Annotated

from lightning.pytorch import seed_everything
from pydantic import Field

from cast_exp.checkpoints.load import Weights
from cast_exp.errors import UserError
from cast_exp.evaluation import Subject
from cast_exp.models import Backbone
from cast_exp.plugins import LIGHTNING, allow
from cast_exp.run.app import run_app
from cast_exp.run.average import check_loaded
from cast_exp.run.build import build
from cast_exp.run.card import write_card
from cast_exp.run.evaluate import chosen_evaluations, log_evaluations, run_evaluations
from cast_exp.run.nodes import EvaluationNode, LoggerNode, ModelNode, Node, TrainerNode
from cast_exp.run.notes import evaluation_notes
from cast_exp.run.show import show_config
from cast_exp.run.trainer import READ_BY_EVALUATIONS, evaluation_trainers

log = logging.getLogger(__name__)


def evaluate_model(
    *,
    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=200)],
    seed: Annotated[int, Field(ge=0, lt=2**32)],
    checkpoint: str | None,
    weights: Weights,
    run: str | None,
    run_epochs: dict[str, Annotated[int, Field(ge=1)]] | None,
    paths: dict[str, Path],
    model: ModelNode,
    trainer: TrainerNode,
    evaluate: list[str],
    evaluate_untrained: bool,
    evaluation: dict[str, EvaluationNode],
    logger: dict[str, LoggerNode | None],
    plugins: list[str],
    **parts: Node,
) -> dict[str, float]:
    """Build the model that the config names and evaluate it.

    See `cast_exp.train.train` for the arguments that are not listed here.

    Args:
        name: Name of the folder below `paths.runs`.
        checkpoint: Weights; None to evaluate a model that has not been trained.
        weights: "average" takes their moving average, which supervised training keeps.
        run: Folder of the run they are of, if that was named.
        run_epochs: By the experiment that the run trained, the epoch whose checkpoint is taken if
            the run has kept it; `with_run` reads it.
        model: Config of a `Backbone`.
        trainer: Config of a `Trainer`; see `evaluation_trainers` for what is read.
        evaluate: Names of the evaluations.

    Returns:
        Figures as "<evaluation>/<name>".

    Raises:
        UserError: Nothing to evaluate, missing data, devices that do not exist, or weights that
            do not fit.
    """
    folder = Path(paths["run"])
    allow(*plugins, *LIGHTNING)
    if evaluate_untrained and checkpoint is None:
        raise UserError(
            "evaluate_untrained=true puts an untrained model beside a trained one, but there is no "
            "checkpoint; set checkpoint=... or run=..., or leave it out"
        )
    evaluations = chosen_evaluations(evaluate, evaluation)
    check_loaded(weights, model)
    shown = {"model": model, "checkpoint": checkpoint, "weights": weights, "seed": seed}
    shown["evaluate"] = evaluate
    show_config(folder, shown | {"evaluation": {key: evaluation[key] for key in evaluate}})
    make_trainer = evaluation_trainers(trainer)
    seed_everything(seed, verbose=False)
    backbone: Backbone = build(model)
    subject = Subject.of(backbone, checkpoint, weights) if checkpoint else Subject(backbone)
    for each in evaluations.values():
        each.check(subject)
    for note in evaluation_notes(evaluations, subject.backbone):
        log.info("note: %s", note)
    settings = {"seed": seed, "evaluation": {name: evaluation[name] for name in evaluate}}
    settings["trainer"] = {key: trainer[key] for key in READ_BY_EVALUATIONS if key in trainer}
    write_card(folder, subject, checkpoint, weights, evaluations, settings)
    subjects = {"": subject}
    if evaluate_untrained:
        subjects["untrained"] = subject.untrained(seed)
    loggers = [build(part) for part in logger.values() if part is not None]
    for each in loggers:
        each.log_hyperparams(shown)
    title = "untrained" if checkpoint is None else weights
    figures = run_evaluations(evaluations, subjects, make_trainer, folder, title)
    log_evaluations(loggers, figures, folder)
    return figures


if __name__ == "__main__":
    run_app(evaluate_model, "eval")
