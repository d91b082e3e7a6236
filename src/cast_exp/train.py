"""Train a model: `python -m cast_exp.train experiment=...`; `--help` lists what can be chosen."""

if __name__ == "__main__":
    from cast_exp.output.console import end_at_ctrl_c

    end_at_ctrl_c()

from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Annotated

import torch
from lightning.pytorch import seed_everything
from pydantic import Field

from cast_exp.callbacks.objective_check import ObjectiveCheck
from cast_exp.checkpoints.load import Weights
from cast_exp.data.base import RawDataModule
from cast_exp.errors import UserError
from cast_exp.evaluation import Subject
from cast_exp.plugins import LIGHTNING, allow
from cast_exp.run.app import run_app
from cast_exp.run.average import weights_at_end
from cast_exp.run.build import build
from cast_exp.run.callbacks import build_callbacks
from cast_exp.run.changes import Leave, review_plan
from cast_exp.run.evaluate import chosen_evaluations, run_evaluations
from cast_exp.run.figures import OF_TRAINING, logged_figures, objective_notes, wrong_objective
from cast_exp.run.held_out import record_held_out
from cast_exp.run.nodes import (
    CallbackNode,
    DataNode,
    EvaluationNode,
    LoggerNode,
    Node,
    TaskNode,
    TrainerNode,
)
from cast_exp.run.notes import Counts, rate_notes
from cast_exp.run.plan import Plan
from cast_exp.run.resume import checkpoint_to_resume
from cast_exp.run.show import show_config, show_plan, show_result
from cast_exp.run.tracking import log_evaluations, log_start, log_training
from cast_exp.run.trainer import attach, build_trainer, ending_well, evaluation_trainers, fit
from cast_exp.study import PRUNED
from cast_exp.tasks import BaseTask


def train(
    *,
    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=200)],
    seed: Annotated[int, Field(ge=0, lt=2**32)],
    weights: Weights,
    resume: str | None,
    resume_changes: Leave,
    tf32: bool,
    objective: str | None,
    paths: dict[str, Path],
    data: DataNode,
    task: TaskNode,
    trainer: TrainerNode,
    callbacks: dict[str, CallbackNode | None],
    logger: dict[str, LoggerNode | None],
    optim: dict[str, Node],
    evaluate: list[str],
    evaluate_untrained: bool,
    evaluation: dict[str, EvaluationNode],
    plugins: list[str],
    **parts: Node,
) -> dict[str, float]:
    """Build what the config names and train it.

    Args:
        name: Name of the run, of letters, digits, `_`, `-` and `.`.
        seed: Seed of everything random.
        weights: "average" takes the moving average: of the checkpoint that `model` is loaded from,
            and for the evaluations that of the training, if it keeps one.
        resume: See `cast_exp.run.folder.run_folder`.
        resume_changes: "accept" lets a resumed run be trained otherwise than before, or on another
            number of images.
        tf32: Round the factors of float32 matrix products to TF32 in training.
        objective: See `cast_exp.run.objective`.
        paths: `run` is the folder of the run.
        data: Config of an `ImageDataModule` or a `SceneDataModule`.
        task: Config of a `BaseTask`.
        trainer: Config of a `Trainer`.
        callbacks: Configs of its callbacks by name; null for none of that name. Those that the data
            leave nothing to do are left out.
        logger: Configs of its loggers likewise.
        optim: Config of the optimiser; `optimizer.lr` is what the run is told to use.
        evaluate: Names of the evaluations that follow the training, of the best backbone; none of a
            trial that was pruned.
        evaluate_untrained: Evaluate the same backbone without training as well.
        evaluation: Configs of all there are, by name.
        plugins: Packages that parts may come from beside this one.
        parts: Nodes that the ones above refer to.

    Returns:
        The last value of every logged metric that is finite.

    Raises:
        UserError: Missing data, devices that do not exist, a checkpoint that does not fit, an
            evaluation, an average or an objective that there is not.
    """
    config = {key: value for key, value in locals().items() if key != "parts"} | parts
    folder = Path(paths["run"])
    allow(*plugins, *LIGHTNING)
    evaluations = chosen_evaluations(evaluate, evaluation)
    seed_everything(seed, verbose=False)
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    served: RawDataModule = build(data)
    served.require_a_batch()  # opens the images before anything else takes its time
    the_task: BaseTask = build(task)
    at_end = weights_at_end(weights, parts.get("model"), the_task.averages, bool(evaluations))
    the_data = the_task.training_data(served)
    the_callbacks = build_callbacks(callbacks, served, the_task)
    logged = logged_figures(the_task, the_callbacks)
    if wrong := wrong_objective(objective, logged, evaluations):
        raise UserError(wrong)
    if objective and objective.startswith(OF_TRAINING):
        the_callbacks.append(ObjectiveCheck(objective))
    the_trainer = build_trainer(trainer, the_callbacks, logger)
    plan = Plan.of(the_trainer, served, optim["optimizer"]["lr"])
    show_config(folder, config)
    counts = Counts.of(served, "train", the_task.backbone)
    notes = [*(counts.notes() if counts else []), *rate_notes(the_task.schedule, plan, the_trainer)]
    notes += objective_notes(objective, evaluations)
    show_plan(plan, counts, notes)
    record_held_out(folder, served)
    attach(the_trainer, the_task, the_data)
    for each in evaluations.values():
        each.check(Subject.in_training(the_task))
    checkpoint = checkpoint_to_resume(folder, resume, the_task)
    review_plan(plan, folder, checkpoint, resume_changes)
    source = parts.get("checkpoint")
    log_start(the_trainer.loggers, folder, {**config, "plan": asdict(plan)}, source, weights)
    fit(the_trainer, the_task, the_data, checkpoint)
    figures = {key: float(value) for key, value in the_trainer.callback_metrics.items()}
    metrics = {key: value for key, value in figures.items() if isfinite(value)}
    log_training(the_trainer.loggers, folder, metrics, the_trainer.global_step)
    show_result(folder, metrics)
    if evaluations and PRUNED not in metrics:
        trained = Subject.load(folder, weights=at_end)
        subjects = {"": trained}
        if evaluate_untrained:
            subjects["untrained"] = trained.untrained(seed)
        # As of `cast_exp.eval run=...`, in whatever precision the training was.
        torch.set_float32_matmul_precision("highest")
        make_trainer = evaluation_trainers({**trainer, "precision": "32-true"})
        with ending_well(the_trainer):
            figures = run_evaluations(evaluations, subjects, make_trainer, folder, at_end)
        log_evaluations(the_trainer.loggers, figures, folder, the_trainer.global_step)
        metrics |= figures
    return metrics


if __name__ == "__main__":
    run_app(train, "train")
