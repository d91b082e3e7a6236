"""Checks a whole command, every job of a multirun included, before any of it is run."""

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed
from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.version import setbase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cast_exp.config import conf_dir, explain, gist, listed, mistakes
from cast_exp.errors import UserError
from cast_exp.run.folder import RUN, SWEEP
from cast_exp.run.weights import told_by_checkpoint, with_weights

_FOLDER_NAMES = "hydra.job.config.override_dirname.exclude_keys"
EVAL = "eval"  # the root config of the evaluations
_OWN = ("hydra.mode", _FOLDER_NAMES)  # overrides that are not the user's


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
    arguments = get_args_parser().parse_intermixed_args(command)
    config_name = arguments.config_name or config_name
    options = [word for word in command if word not in arguments.overrides]
    if arguments.shell_completion:
        return [*options, *arguments.overrides]
    with _hydra(arguments):
        overrides = list(arguments.overrides)
        if config_name == EVAL:
            overrides = with_weights(overrides)
        if named := _named(overrides):  # its overrides say which keys there are
            overrides = _continued(named, overrides)
        config = _compose(config_name, overrides)
        if config_name == EVAL:
            overrides += told_by_checkpoint(config)
        elif not config.get("task"):
            name = f"experiment={config.hydra.runtime.choices.experiment}"
            raise UserError(
                f"{name} trains nothing; python -m cast_exp.{EVAL} {name} checkpoint=... evaluates"
            )
        multirun = arguments.multirun or config.hydra.mode == RunMode.MULTIRUN
        if stopped := _stopped(config, multirun):
            if (stopped / SWEEP).is_file() and not multirun:
                multirun = True
                options.append("--multirun")
            overrides = _continued(stopped, overrides)
            config = _compose(config_name, overrides)
        if not multirun and (swept := _swept(overrides)):
            lines = [f"{text}: several values; add -m to run with each of them" for text in swept]
            raise UserError(listed(lines))
        if any((arguments.help, arguments.hydra_help, arguments.info, arguments.cfg)):
            return options + overrides
        jobs = _jobs(config, overrides) if multirun else [overrides]
        _check(config_name, jobs, multirun, entry)
        if multirun:  # folders of jobs are named by what differs between them
            shared = set.intersection(*map(set, jobs))
            keys = ",".join(f"'{_key(text)}'" for text in sorted(shared))
            overrides.append(f"{_FOLDER_NAMES}=[{keys}]")
    return options + overrides


@contextmanager
def _hydra(arguments: Namespace) -> Iterator[None]:
    """Hydra as `hydra.main` sets it up."""
    search_path = create_config_search_path(
        str(Path(arguments.config_path or conf_dir()).resolve())
    )
    if arguments.config_dir:
        folder = Path(arguments.config_dir).resolve()
        if not folder.is_dir():
            raise UserError(f"--config-dir {arguments.config_dir} is not a folder")
        anchor = SearchPathQuery(provider="schema")
        search_path.prepend(provider="command-line", path=f"file://{folder}", anchor=anchor)
    setbase("1.3")
    Hydra.create_main_hydra2("app", search_path)
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None


def _compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The config of what in the overrides is not swept."""
    try:
        swept = _swept(overrides)
        fixed = [text for text in overrides if text not in swept]
        config: DictConfig = compose(config_name, fixed, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(listed(explain(config_name, overrides, error))) from error
    return config


def _swept(overrides: Sequence[str]) -> list[str]:
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [str(override.input_line) for override in parsed if override.is_sweep_override()]


def _named(overrides: Sequence[str]) -> Path | None:
    """The folder of a run or multirun, if `resume` names one."""
    for text in overrides:
        if _key(text) == "resume":
            folder = Path(text.partition("=")[2]).expanduser()
            if (folder / RUN).is_file() or (folder / SWEEP).is_file():
                return folder
    return None


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


def _continued(folder: Path, overrides: Sequence[str]) -> list[str]:
    """The overrides that a run was started with, less those given anew, and the new ones."""
    if (folder / SWEEP).is_file():
        kept = OmegaConf.load(folder / SWEEP).hydra.overrides
        saved = [*(text for text in kept.hydra if _key(text) not in _OWN), *kept.task]
    else:
        saved = list(OmegaConf.load(folder / ".hydra" / "overrides.yaml"))
    given = {_key(text) for text in overrides}
    return [*(str(text) for text in saved if _key(str(text)) not in given), *overrides]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _check(
    config_name: str, jobs: Sequence[list[str]], multirun: bool, entry: Callable[..., Any]
) -> None:
    found: dict[str, list[str]] = {}
    for job in jobs:
        try:
            config = compose(config_name, job, return_hydra_config=True)
            lines = mistakes(_as_run(config, multirun), entry)
        except (HydraException, OmegaConfBaseException) as error:
            lines = explain(config_name, job, error)
        for line in lines:
            found.setdefault(line, job)
    if found:
        shared = set.intersection(*map(set, jobs))
        raise UserError(
            listed(
                f"{line}  (with {' '.join(own)})"
                if (own := [o for o in job if o not in shared])
                else line
                for line, job in found.items()
            )
        )


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
    swept = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    parsed = OverridesParser.create().parse_overrides([*swept, *overrides])
    if not config.hydra.sweeper._target_.endswith(BasicSweeper.__name__):
        # Only that sweeper knows which values it will try.
        return [[text for text in overrides if text not in _swept(overrides)]]
    try:
        jobs: list[list[str]] = BasicSweeper.split_arguments(parsed, None)[0]
    except HydraException as error:
        raise UserError(gist(error)) from error
    return jobs


def _as_run(config: DictConfig, multirun: bool) -> DictConfig:
    """The config as a run will see it, but for the name of its folder in a multirun."""
    folder = config.hydra.sweep.dir if multirun else config.hydra.run.dir
    with open_dict(config):
        config.hydra.runtime.output_dir = folder
        HydraConfig.instance().set_config(config)
        del config["hydra"]
    return only_asked(config)


def only_asked(config: DictConfig) -> DictConfig:
    """The config without the evaluations not asked for, which may be of other data than its own."""
    asked = config.evaluate if OmegaConf.is_list(config.evaluate) else []
    with open_dict(config):
        for key in set(config.evaluation) - set(asked):
            del config.evaluation[key]
    return config
