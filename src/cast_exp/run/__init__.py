"""Running what the config says: processes, folders, resuming, multiruns."""

from cast_exp.run.app import run_app
from cast_exp.run.average import check_loaded, weights_at_end
from cast_exp.run.build import build
from cast_exp.run.callbacks import build_callbacks
from cast_exp.run.card import write_card
from cast_exp.run.evaluate import chosen_evaluations, log_evaluations, run_evaluations
from cast_exp.run.held_out import record_held_out
from cast_exp.run.notes import Counts, evaluation_notes, rate_notes
from cast_exp.run.resume import checkpoint_to_resume
from cast_exp.run.show import show_config, show_plan, show_result
from cast_exp.run.trainer import attach, build_trainer, ending_well, evaluation_trainers, fit

__all__ = [
    "Counts",
    "attach",
    "build",
    "build_callbacks",
    "build_trainer",
    "check_loaded",
    "checkpoint_to_resume",
    "chosen_evaluations",
    "ending_well",
    "evaluation_notes",
    "evaluation_trainers",
    "fit",
    "log_evaluations",
    "rate_notes",
    "record_held_out",
    "run_app",
    "run_evaluations",
    "show_config",
    "show_plan",
    "show_result",
    "weights_at_end",
    "write_card",
]
