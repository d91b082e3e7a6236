"""The jobs of a command, and the mistakes in any of them."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from cast_exp.config import FAILURES, combinations, explain, listed, mistakes, swept
from cast_exp.errors import UserError
from cast_exp.run.folder import launched_by, rank
from cast_exp.run.misfits import misfits, wrong_evaluations
from cast_exp.run.rehearsal import refusals
from cast_exp.run.tree import EVAL
from cast_exp.run.trust import wrong_plugins
from cast_exp.run.unread import only_asked, only_read, refused_by_evaluation, unread_by_training

_HERE = "BasicLauncher"  # the launcher that runs jobs on this machine
_GRID = "BasicSweeper"  # the sweeper that runs every combination of the values


def jobs_of(config: DictConfig, overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of a multirun.

    Raises:
        UserError: Under torchrun, which is for a single run.
    """
    if launched_by() == "torchrun":
        raise UserError(
            "torchrun starts the processes of one run; for a multirun leave it out and set "
            "strategy=ddp trainer.devices=N"
        )
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    if not config.hydra.sweeper._target_.endswith(_GRID):  # only it knows the values it will try
        return [[text for text in overrides if text not in swept(overrides)]]
    return combinations([*params, *overrides])


def check_jobs(
    config_name: str,
    jobs: Sequence[list[str]],
    composed: DictConfig | None,
    entry: Callable[..., Any],
    typed: Sequence[str],
    trusted: set[str],
) -> list[DictConfig]:
    """Find mistakes in any of the jobs, and say what has been typed in vain for all of them.

    Args:
        config_name: Name of the root config.
        jobs: Overrides of each.
        composed: What those of the one job compose to; None in a multirun.
        entry: See `mistakes`.
        typed: Overrides that the user has typed.
        trusted: Packages of the user's that parts may come from.

    Returns:
        The config of each job.

    Raises:
        UserError: All mistakes at once, each with the job's own overrides.
    """
    configs: list[DictConfig] = []
    found: dict[str, list[str]] = {}
    vain = dict.fromkeys(typed)
    for job in jobs:
        try:
            config = composed or hydra.compose(config_name, job, return_hydra_config=True)
            config, lines = _checked(config, config_name, composed is None, entry, typed, trusted)
            if config_name == EVAL:
                vain = {}
            else:
                vain = dict.fromkeys(filter(vain.__contains__, unread_by_training(config, typed)))
            configs.append(config)
        except FAILURES as error:
            lines = explain(config_name, job, error)
        for line in lines:
            found.setdefault(line, job)
    if found:
        shared = set.intersection(*map(set, jobs))
        lines = []
        for line, job in found.items():
            own = [text for text in job if text not in shared]
            lines.append(f"{line}  (with {' '.join(own)})" if own else line)
        raise UserError(listed(lines))
    if vain and rank() == 0:
        print(f"note: nothing in this run reads {' '.join(vain)}", file=sys.stderr)
    return configs


def _checked(
    config: DictConfig,
    config_name: str,
    multirun: bool,
    entry: Callable[..., Any],
    typed: Sequence[str],
    trusted: set[str],
) -> tuple[DictConfig, list[str]]:
    """The config as a run will see it, and its mistakes of the first kind that there are any of."""
    evaluates = config_name == EVAL
    choices = config.hydra.runtime.choices
    here = config.hydra.launcher._target_.endswith(_HERE)
    lines = wrong_plugins(config, trusted) or wrong_evaluations(config, some=evaluates)
    config = _as_run(config, multirun)
    lines = lines or misfits(config, choices, trains=not evaluates)
    if evaluates:
        lines = lines or refused_by_evaluation(config, typed)
        config = only_read(config)
    lines = lines or mistakes(config, entry)
    if here and not lines:
        lines = refusals(config, trains=not evaluates)
    return config, lines


def _as_run(config: DictConfig, multirun: bool) -> DictConfig:
    """The config without Hydra's node; the folder in it is the sweep's in a multirun."""
    folder = config.hydra.sweep.dir if multirun else config.hydra.run.dir
    with open_dict(config):
        config.hydra.runtime.output_dir = folder
        HydraConfig.instance().set_config(config)
        del config["hydra"]
    return only_asked(config)
