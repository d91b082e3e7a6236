"""Checks a whole command, every job of a multirun included, before any of it is run."""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cast_exp.config import gist, key_of, listed, swept
from cast_exp.errors import UserError
from cast_exp.plugins import LIGHTNING, only
from cast_exp.run.arguments import parsed
from cast_exp.run.changes import review_changes
from cast_exp.run.composed import completed, composed, with_evaluations
from cast_exp.run.folder import RUN, SWEEP, rank, unfinished
from cast_exp.run.jobs import check_jobs, jobs_of
from cast_exp.run.resolvers import read_environment, register_resolvers
from cast_exp.run.saved import FOLDER_NAMES, Saved, begun_before, check_hydra
from cast_exp.run.tree import EVAL, compose, config_tree
from cast_exp.run.trust import (
    check_config_dir,
    strange_commands,
    typed_paths,
    typed_variables,
    users_plugins,
)
from cast_exp.run.weights import with_run


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
    if arguments.shell_completion or arguments.version:
        return [*_flags(command, arguments), *arguments.overrides]
    with ExitStack() as stack:
        checked = _Command(command, arguments, config_name, stack)
        if any((arguments.help, arguments.hydra_help, arguments.info, arguments.cfg)):
            return checked.flags + checked.overrides
        if before := checked.begun_before():
            print(f"going on with {before}; resume=null begins anew", file=sys.stderr)
            return checked_command([*command, f"resume='{before}'"], config_name, entry)
        checked.check(entry)
    return checked.flags + checked.overrides


class _Command:
    """A command on its way to Hydra.

    Args:
        command: Arguments of the program.
        arguments: The same, parsed.
        config_name: Name of the root config.
        stack: What configs are composed of holds until it is closed.

    Attributes:
        flags: Of Hydra.
        overrides: Those that were typed and those that follow from them.
        config: What they compose to, but for what is swept.
        multirun: Whether there are several jobs.
        saved: What the folder of a run that is named says of an earlier command; None if none is.
        stopped: Folder of the run or multirun that is gone on with; None for a new one.

    Raises:
        UserError: The overrides compose to nothing that can be run.
    """

    def __init__(
        self, command: Sequence[str], arguments: Namespace, config_name: str, stack: ExitStack
    ) -> None:
        self.arguments = arguments
        self.typed: list[str] = arguments.overrides
        self.flags = _flags(command, arguments)
        self.config_name = arguments.config_name or config_name
        self.program = EVAL if self.config_name == EVAL else "train"
        self.saved = _named(self.typed, self.config_name)
        resumes = self.saved and _folder(self.typed, "resume") == self.saved.folder
        if self.saved and resumes and not arguments.config_name:
            self.flags += _own_root(self.saved)
            self.config_name = parsed(self.flags).config_name or self.config_name
        self._enter(stack)
        self.overrides = with_run(self.typed) if self.evaluates else list(self.typed)
        if self.saved and resumes:
            self.overrides = self.saved.continued(self.overrides)  # they say which keys there are
        self.config, self.overrides = with_evaluations(self.config_name, self.overrides)
        self._require_a_task()
        self.multirun = arguments.multirun or self.config.hydra.mode == RunMode.MULTIRUN
        self.stopped = self._stopped()
        if self.stopped:
            self._go_on_with(self.stopped, stack)
        if not self.multirun and (several := swept(self.overrides)):
            hint = "several values; add -m to run with each of them"
            raise UserError(listed(f"{text}: {hint}" for text in several))
        self.config, self.overrides = completed(self.config_name, self.config, self.overrides)
        if self.remembered:
            self.flags.append(f"--config-dir={self.remembered}")

    @property
    def evaluates(self) -> bool:
        """Whether this is a command of `cast_exp.eval`."""
        return self.config_name == EVAL

    def begun_before(self) -> Path | None:
        """The folder of a multirun that the same command has begun and not ended, if there is one.

        Only where the command says nothing of resuming.
        """
        if not self.multirun or self.stopped or "resume" in map(key_of, self.typed):
            return None
        return begun_before(
            Path(self.config.hydra.sweep.dir).parent, self.overrides, self._users_folder
        )

    def check(self, entry: Callable[..., Any]) -> None:
        """Find mistakes in all jobs, and name the folders of those of a multirun.

        Args:
            entry: See `mistakes`.

        Raises:
            UserError: All mistakes at once.
        """
        jobs = jobs_of(self.config, self.overrides) if self.multirun else [self.overrides]
        if self.saved and self.remembered:
            each = (compose(self.config_name, job) for job in jobs if self.multirun)
            for config in (self.config, *each):
                check_hydra(config, self.program, self._root, self.typed, self.saved)
        one = None if self.multirun else self.config
        configs = check_jobs(self.config_name, jobs, one, entry, self.typed, self.trusted)
        if self.saved:
            strange = [strange_commands(each, self.typed, self.tree) for each in configs]
            if lines := list(dict.fromkeys(chain.from_iterable(strange))):
                raise UserError(listed(lines))
        if not self.evaluates:
            review_changes(configs, jobs, self.stopped)
        if self.multirun:  # folders of jobs are named by what differs between them
            shared = set.intersection(*map(set, jobs))
            keys = ",".join(f"'{key_of(text)}'" for text in sorted(shared))
            self.overrides.append(f"{FOLDER_NAMES}=[{keys}]")

    @property
    def _root(self) -> Path | None:
        return Path(self.arguments.config_path) if self.arguments.config_path else None

    @property
    def _users_folder(self) -> Path | None:
        return Path(self.arguments.config_dir) if self.arguments.config_dir else None

    def _enter(self, stack: ExitStack) -> None:
        """Let configs be composed of the files, parts and variables that the command may use.

        It trusts these plug-ins, and remembers a folder of config files that the saved command has
        named and this one has not.
        """
        users, saved = self._users_folder, self.saved
        check_config_dir(users)
        self.remembered = None if users or not saved else saved.existing_config_dir()
        self.tree = stack.enter_context(config_tree(self._root, users or self.remembered))
        self.trusted, variables = users_plugins(self.typed, self.tree), None
        usual = set(LIGHTNING)
        if saved:
            usual = set(typed_paths(self.typed, LIGHTNING))
            variables = typed_variables(self.typed, self.tree)
        stack.enter_context(only(*self.trusted, *usual))
        read_environment(variables)
        if self.remembered and rank() == 0:
            print(f"note: with config files of {self.remembered}, as before", file=sys.stderr)

    def _require_a_task(self) -> None:
        if self.evaluates or self.config.get("task"):
            return
        name = f"experiment={self.config.hydra.runtime.choices.experiment}"
        raise UserError(
            f"{name} trains nothing; python -m cast_exp.{EVAL} {name} checkpoint=... evaluates"
        )

    def _stopped(self) -> Path | None:
        """The folder of the run or multirun to be resumed, if that is what is asked for."""
        config = self.config
        if OmegaConf.select(config, "resume") is None:
            return None
        try:
            given = Path(str(config.resume)).expanduser()
            multirun = self.multirun or (given / SWEEP).is_file()
            folder = Path(config.hydra.sweep.dir if multirun else config.hydra.run.dir)
        except OmegaConfBaseException as error:
            raise UserError(gist(error)) from error
        begins = config.resume == "auto" and not (multirun or self.evaluates or folder.is_dir())
        if begins and rank() == 0 and (left := unfinished(folder.parent, RUN)):
            told = f"note: {left[0]} has no checkpoint to go on from: a new run begins"
            print(told, file=sys.stderr)
        return folder if folder.is_dir() else None

    def _go_on_with(self, folder: Path, stack: ExitStack) -> None:
        """Take the command that a folder was begun with, unless that has been done."""
        if (folder / SWEEP).is_file() and not self.multirun:
            self.multirun = True
            self.flags.append("--multirun")
        if self.saved is None:  # found by resume=auto
            self.saved = Saved.read(folder)
            self._enter(stack)
            self.overrides = self.saved.continued(self.overrides)
            self.config = composed(self.config_name, self.overrides)


def _flags(command: Sequence[str], arguments: Namespace) -> list[str]:
    return [word for word in command if word not in arguments.overrides]


def _named(typed: Sequence[str], config_name: str) -> Saved | None:
    """The saved command of the run, multirun or evaluation that this one names, if it does."""
    for key in ("resume", "run") if config_name == EVAL else ("resume",):
        folder = _folder(typed, key)
        if folder and ((folder / RUN).is_file() or (folder / SWEEP).is_file()):
            return Saved.read(folder)
    return None


def _folder(typed: Sequence[str], key: str) -> Path | None:
    texts = [text.partition("=")[2].strip("'\"") for text in typed if key_of(text) == key]
    return Path(texts[-1]).expanduser() if texts else None


def _own_root(saved: Saved) -> list[str]:
    """Flags for the root config of a saved command, if that is the user's own."""
    own = saved.config_name if saved.config_name not in (None, "train", EVAL) else None
    return [f"--config-name={own}"] if own else []
