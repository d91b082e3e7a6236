"""Checks a whole command, every job of a multirun included, before any of it is run."""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hydra
import torch.distributed
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cast_exp.config import (
    FAILURES,
    combinations,
    explain,
    gist,
    key_of,
    listed,
    mistakes,
    options,
    swept,
)
from cast_exp.errors import UserError
from cast_exp.plugins import LIGHTNING, only
from cast_exp.run.arguments import parsed
from cast_exp.run.changes import review_changes
from cast_exp.run.figures import wrong_figures
from cast_exp.run.folder import RUN, SWEEP, rank
from cast_exp.run.follow import following
from cast_exp.run.misfits import misfits, own_evaluation, wrong_evaluations
from cast_exp.run.rehearsal import refusals
from cast_exp.run.resolvers import read_environment, register_resolvers
from cast_exp.run.saved import FOLDER_NAMES, Saved, begun_before, check_hydra
from cast_exp.run.tree import EVAL, compose, config_tree
from cast_exp.run.trust import (
    check_config_dir,
    typed_paths,
    typed_variables,
    users_plugins,
    wrong_plugins,
)
from cast_exp.run.unread import (
    for_evaluation,
    only_asked,
    only_read,
    refused_by_evaluation,
    unread_by_training,
)
from cast_exp.run.weights import model_overrides, with_checkpoint, with_run

_HERE = "BasicLauncher"  # the launcher that runs jobs on this machine
_GRID = "BasicSweeper"  # the sweeper that runs every combination of the values


def checked_command(
    command: Sequence[str], config_name: str, entry: Callable[..., Any]
) -> list[str]:
    """The command to hand to Hydra, once nothing is wrong with it.

    A run that is resumed gets the overrides it was started with; those of the command come after.

    Args:
        command: Arguments of the program.
        config_name: Name of the root config.
        entry: See `mistakes`.

    Raises:
        UserError: All mistakes at once.
    """
    if searches := [word for word in command if word.startswith("sweep=search/")]:
        raise UserError(f"{searches[0]} is a search; run it with cast-exp sweep")
    register_resolvers()  # for completion, too
    arguments = parsed(command)
    config_name = arguments.config_name or config_name
    flags = [word for word in command if word not in arguments.overrides]
    if arguments.shell_completion or arguments.version:
        return [*flags, *arguments.overrides]
    typed: list[str] = arguments.overrides
    ours = EVAL if config_name == EVAL else "train"
    saved = _named(typed, config_name)
    if saved and not arguments.config_name and _resumes(typed, saved):
        flags += _own_root(saved)
        config_name = parsed(flags).config_name or config_name
    with ExitStack() as stack:
        trusted, remembered = _enter(stack, arguments, saved)
        overrides = with_run(typed) if config_name == EVAL else list(typed)
        if saved and _resumes(typed, saved):
            overrides = saved.continued(overrides)  # they say which keys there are
        config, overrides = _with_evaluations(config_name, overrides)
        if config_name != EVAL and not config.get("task"):
            name = f"experiment={config.hydra.runtime.choices.experiment}"
            raise UserError(
                f"{name} trains nothing; python -m cast_exp.{EVAL} {name} checkpoint=... evaluates"
            )
        multirun = arguments.multirun or config.hydra.mode == RunMode.MULTIRUN
        if stopped := _stopped(config, multirun):
            if (stopped / SWEEP).is_file() and not multirun:
                multirun = True
                flags.append("--multirun")
            if saved is None:  # found by resume=auto
                saved = Saved.read(stopped)
                trusted, remembered = _enter(stack, arguments, saved)
                overrides = saved.continued(overrides)
                config = _compose(config_name, overrides)
        if not multirun and (several := swept(overrides)):
            hint = "several values; add -m to run with each of them"
            raise UserError(listed(f"{text}: {hint}" for text in several))
        config, overrides = _completed(config_name, config, overrides)
        if remembered:
            flags.append(f"--config-dir={remembered}")
        if any((arguments.help, arguments.hydra_help, arguments.info, arguments.cfg)):
            return flags + overrides
        if multirun and not stopped and "resume" not in map(key_of, typed):
            place = Path(config.hydra.sweep.dir).parent
            users = Path(arguments.config_dir) if arguments.config_dir else None
            if before := begun_before(place, overrides, users):
                print(f"going on with {before}; resume=null begins anew", file=sys.stderr)
                return checked_command([*command, f"resume='{before}'"], config_name, entry)
        jobs = _jobs(config, overrides) if multirun else [overrides]
        if saved and remembered:
            for composed in (config, *(compose(config_name, job) for job in jobs if multirun)):
                check_hydra(composed, ours, _root(arguments), typed, saved)
        configs = _check(config_name, jobs, None if multirun else config, entry, typed, trusted)
        if config_name != EVAL:
            review_changes(configs, jobs, stopped)
        if multirun:  # folders of jobs are named by what differs between them
            shared = set.intersection(*map(set, jobs))
            keys = ",".join(f"'{key_of(text)}'" for text in sorted(shared))
            overrides.append(f"{FOLDER_NAMES}=[{keys}]")
    return flags + overrides


def _enter(
    stack: ExitStack, arguments: Namespace, saved: Saved | None
) -> tuple[set[str], Path | None]:
    """Let configs be composed of the files, parts and variables that a command may use.

    Args:
        stack: Keeps it so.
        arguments: The command.
        saved: What the folder of a run says of an earlier one; None if there is none.

    Returns:
        The plug-ins, and the folder of config files that the saved command has named, not this one.
    """
    users = Path(arguments.config_dir) if arguments.config_dir else None
    check_config_dir(users)
    remembered = None if users or not saved else saved.existing_config_dir()
    place = stack.enter_context(config_tree(_root(arguments), users or remembered))
    plugins, variables = users_plugins(arguments.overrides, place), None
    usual = set(LIGHTNING)
    if saved:
        usual = set(typed_paths(arguments.overrides, LIGHTNING))
        variables = typed_variables(arguments.overrides, place)
    stack.enter_context(only(*plugins, *usual))
    read_environment(variables)
    if remembered and rank() == 0:
        print(f"note: with config files of {remembered}, as before", file=sys.stderr)
    return plugins, remembered


def _root(arguments: Namespace) -> Path | None:
    return Path(arguments.config_path) if arguments.config_path else None


def _compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The config of what in the overrides is not swept."""
    try:
        several = swept(overrides)
    except HydraException as error:
        raise UserError(listed(explain(config_name, overrides, error))) from error
    return compose(config_name, [text for text in overrides if text not in several])


def _with_evaluations(config_name: str, overrides: list[str]) -> tuple[DictConfig, list[str]]:
    """What the overrides compose to, and they, with the evaluations that they are about.

    Where none is named, `cast_exp.eval` takes that of what the experiment trains. Every file in the
    group is an evaluation; Hydra's lists of defaults have no word for all of them. Those that are
    asked for, by `evaluate` or by a key of theirs, and that the root config does not list, are
    added.
    """
    own = [text for text in overrides if not key_of(text).startswith("evaluation.")]
    try:
        config = _compose(config_name, own)
    except UserError:
        return _compose(config_name, overrides), overrides  # raises with the mistakes of all
    asked = {key_of(text).split(".")[1] for text in overrides if text not in own}
    left_open = config_name == EVAL and "evaluate" not in map(key_of, overrides)
    if left_open and not config.get("evaluate") and (name := own_evaluation(config)):
        overrides = [*overrides, f"evaluate=[{name}]"]
        asked.add(name)
    if OmegaConf.is_list(config.get("evaluate")):
        asked |= set(config.evaluate)
    known = list(config.get("evaluation") or [])
    unlisted = [name for name in options("evaluation") if name in asked and name not in known]
    if unlisted:
        overrides = [f"evaluation=[{','.join([*known, *unlisted])}]", *overrides]
    return (config if overrides == own else _compose(config_name, overrides)), overrides


def _completed(
    config_name: str, config: DictConfig, overrides: list[str]
) -> tuple[DictConfig, list[str]]:
    """What the overrides and those that follow from them compose to, and all of them."""
    several = {key_of(text) for text in swept(overrides)}
    several |= set(config.hydra.sweeper.get("params") or {})
    chosen = with_checkpoint(config_name, config, overrides, several)
    if chosen != overrides:
        config = _compose(config_name, chosen)
    added = for_evaluation(config, chosen) if config_name == EVAL else []
    added += model_overrides(config, chosen, evaluates=config_name == EVAL)
    added += following(config, chosen, several)
    return _compose(config_name, [*chosen, *added]) if added else config, [*chosen, *added]


def _named(typed: Sequence[str], config_name: str) -> Saved | None:
    """The saved command of the run, multirun or evaluation that this one names, if it does."""
    for key in ("resume", "run") if config_name == EVAL else ("resume",):
        folder = _folder(typed, key)
        if folder and ((folder / RUN).is_file() or (folder / SWEEP).is_file()):
            return Saved.read(folder)
    return None


def _resumes(typed: Sequence[str], saved: Saved) -> bool:
    return _folder(typed, "resume") == saved.folder


def _folder(typed: Sequence[str], key: str) -> Path | None:
    texts = [text.partition("=")[2].strip("'\"") for text in typed if key_of(text) == key]
    return Path(texts[-1]).expanduser() if texts else None


def _own_root(saved: Saved) -> list[str]:
    """Flags for the root config of a saved command, if that is the user's own."""
    own = saved.config_name if saved.config_name not in (None, "train", EVAL) else None
    return [f"--config-name={own}"] if own else []


def _stopped(config: DictConfig, multirun: bool) -> Path | None:
    """The folder of the run or multirun to be resumed, if that is what is asked for."""
    if OmegaConf.select(config, "resume") is None:
        return None
    try:
        given = Path(str(config.resume)).expanduser()
        multirun = multirun or (given / SWEEP).is_file()
        folder = Path(config.hydra.sweep.dir if multirun else config.hydra.run.dir)
    except OmegaConfBaseException as error:
        raise UserError(gist(error)) from error
    return folder if folder.is_dir() else None


def _check(
    config_name: str,
    jobs: Sequence[list[str]],
    composed: DictConfig | None,
    entry: Callable[..., Any],
    typed: Sequence[str],
    trusted: set[str],
) -> list[DictConfig]:
    """Find mistakes in any of the jobs, and say what has been typed in vain for all of them.

    `composed` is what the overrides of the one job compose to; None in a multirun.

    Returns:
        The config of each job.
    """
    configs: list[DictConfig] = []
    found: dict[str, list[str]] = {}
    vain = dict.fromkeys(typed)
    for job in jobs:
        try:
            config = composed or hydra.compose(config_name, job, return_hydra_config=True)
            choices = config.hydra.runtime.choices
            here = config.hydra.launcher._target_.endswith(_HERE)
            lines = wrong_plugins(config, trusted)
            lines = lines or wrong_evaluations(config, some=config_name == EVAL)
            config = _as_run(config, multirun=composed is None)
            lines = lines or misfits(config, choices, trains=config_name != EVAL)
            if config_name == EVAL:
                lines = lines or refused_by_evaluation(config, typed)
                config, vain = only_read(config), {}
            else:
                vain = dict.fromkeys(filter(vain.__contains__, unread_by_training(config, typed)))
            lines = lines or mistakes(config, entry)
            if config_name != EVAL:
                lines = lines or wrong_figures(config)
            if here and not lines:
                lines = refusals(config, trains=config_name != EVAL)
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


def _jobs(config: DictConfig, overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of a multirun.

    Raises:
        UserError: Under torchrun, which is for a single run.
    """
    if torch.distributed.is_torchelastic_launched():
        raise UserError(
            "torchrun starts the processes of one run; for a multirun leave it out and set "
            "strategy=ddp trainer.devices=N"
        )
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    if not config.hydra.sweeper._target_.endswith(_GRID):  # only it knows the values it will try
        return [[text for text in overrides if text not in swept(overrides)]]
    return combinations([*params, *overrides])


def _as_run(config: DictConfig, multirun: bool) -> DictConfig:
    """The config as a run will see it, but for the name of its folder in a multirun."""
    folder = config.hydra.sweep.dir if multirun else config.hydra.run.dir
    with open_dict(config):
        config.hydra.runtime.output_dir = folder
        HydraConfig.instance().set_config(config)
        del config["hydra"]
    return only_asked(config)
