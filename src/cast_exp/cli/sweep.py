"""Searches for the values of a recipe that are best: the command `sweep`."""

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cast_exp.cli.parsers import sweep_options
from cast_exp.config import conf_dir, gist, key_of, nearest
from cast_exp.distributed import signals
from cast_exp.errors import UserError
from cast_exp.extras import need_extra
from cast_exp.output.files import write_json
from cast_exp.output.rounding import rounded
from cast_exp.run.app import launch
from cast_exp.run.folder import (
    SEARCH,
    job_folder,
    new_folder,
    processes,
    read_summary,
    sole_writer,
)
from cast_exp.run.objective import direction, outcome
from cast_exp.run.preflight import checked_command
from cast_exp.run.sweep import summarise, tell_to_upload
from cast_exp.run.tree import compose, config_tree
from cast_exp.study import PRUNED, Interval, Space, claimed, draw, open_study, tell
from cast_exp.train import train

if TYPE_CHECKING:
    from optuna import Study

_GROUP = "sweep=search/"
_SAID = {"pruned": "pruned", "fail": "failed", "running": "at work elsewhere"}


class Search(BaseModel):
    """What a file of conf/sweep/search says; see above."""

    model_config = ConfigDict(extra="forbid")
    objective: str
    prune: str | None = None
    trials: int = Field(20, ge=1)
    space: Space

    @classmethod
    def read(cls, name: str, config_dir: Path | None) -> "Search":
        """Read the file of a name.

        Raises:
            UserError: There is none, or something in it is wrong.
        """
        places = [place / "sweep" / "search" for place in (conf_dir(), config_dir) if place]
        files = {path.stem: path for place in places for path in sorted(place.glob("*.yaml"))}
        if name not in files:
            raise UserError(f"{_GROUP}{name}: there is no such search; {nearest(name, files)}")
        try:
            with files[name].open(encoding="utf-8") as file:
                return cls.model_validate(yaml.safe_load(file))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
            told = first["msg"].removeprefix("Value error, ")
            raise UserError(f"{files[name]}: {key}: {told}") from error
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(gist(error)) from error


def main(arguments: Sequence[str]) -> int:
    """Run the command; the highest exit code of its trials, or 128 + the signal that stopped it.

    Raises:
        UserError: Mistakes in the overrides or the search, before there is a folder; Optuna is not
            installed; the objective is no figure of the runs.
    """
    options = sweep_options(arguments)
    need_extra("sweep", "cast-exp sweep", "optuna")
    if processes() > 1:
        raise UserError(
            "a search starts the processes of its runs by itself: run it without torchrun or srun, "
            "with strategy=ddp trainer.devices=N for runs of several"
        )
    names = [text for text in options.overrides if text.startswith(_GROUP)]
    if len(names) != 1:
        raise UserError(f"name one search: {_GROUP}NAME, a file of conf/sweep/search")
    if any(key_of(text) == "resume" for text in options.overrides):
        raise UserError("leave out resume: a search goes on by itself, and --new begins another")
    search = Search.read(names[0].removeprefix(_GROUP), options.config_dir)
    search.trials = options.trials or search.trials
    overrides = [text for text in options.overrides if text not in names]
    overrides += [f"objective={search.objective}"]
    if search.prune:
        node = f"{{_target_:cast_exp.callbacks.Prune,monitor:{search.prune}}}"
        overrides.append(f"+callbacks.prune={node}")
    flags = [f"--config-dir={options.config_dir.resolve()}"] if options.config_dir else []
    for values in _corners(search.space):
        checked_command([*flags, *overrides, *values], "train", train)
    with config_tree(extra=options.config_dir):
        config = compose("train", overrides)
    parent = Path(config.paths.runs, config.name)
    about = {"command": [*flags, *overrides], **search.model_dump(exclude={"trials"})}
    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(parent / ".search.lock"):  # processes that start together share a search
        found = None if options.new else _same(parent, about)
        folder = found or _begun(parent, about)
        study = open_study(folder, direction(search.objective), options.journal)
    try:
        with signals.watched(first=True, parent=None, notify_parent=False):
            code = _work(search, about["command"], folder, study)
    except signals.Stopped as stop:
        print(f"stopped by {stop}; the same command goes on with {folder}", file=sys.stderr)
        return 128 + stop.signal
    _conclude(search, folder, study)
    tell_to_upload(folder)
    return code


def _corners(space: Space) -> Iterator[list[str]]:
    """Overrides among which is every bound and every choice."""
    ends = {n: v if isinstance(v, list) else [v.low, v.high] for n, v in _texts(space).items()}
    for row in range(max(map(len, ends.values()))):
        yield [f"{name}={values[row % len(values)]}" for name, values in ends.items()]


def _texts(space: Space) -> dict[str, Interval | list[str]]:
    """The space with choices as overrides have them."""

    def text(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

    return {n: list(map(text, v)) if isinstance(v, list) else v for n, v in space.items()}


def _same(parent: Path, about: Mapping[str, Any]) -> Path | None:
    """The newest search of the same command, be it at work, killed or finished."""
    for path in sorted(parent.glob(f"search-*/{SEARCH}"), reverse=True):
        if json.loads(path.read_text(encoding="utf-8")) == about:
            print(f"going on with {path.parent}; --new begins another search", file=sys.stderr)
            return path.parent.resolve()
    return None


def _begun(parent: Path, about: Mapping[str, Any]) -> Path:
    folder = Path(new_folder(parent, "search-"))
    write_json(folder / SEARCH, about)
    return folder


def _work(search: Search, command: Sequence[str], folder: Path, study: "Study") -> int:
    """Run trials until none is left to take on; the highest of their exit codes."""
    space, codes = _texts(search.space), [0]
    while True:
        with claimed(study, folder, space, search.trials, partial(_at_work, folder)) as trial:
            if trial is None:
                return max(codes)
            chosen = [f"{name}={trial.params[name]}" for name in space]
            before = next(folder.glob(f"{trial.number}_*/"), None)
            run = before or folder / job_folder(trial.number, ",".join(chosen))
            print(f"trial {trial.number}: {' '.join(chosen)}", file=sys.stderr)
            if read_summary(run).get("status") != "finished":
                try:
                    words = [*command, *chosen, f"hydra.run.dir='{run}'"]
                    codes += [code for _, code in launch(train, "train", words, apart=True)]
                except UserError as error:
                    if read_summary(run).get("status") == "finished":
                        raise  # it lacks the objective, and so will the others
                    print(f"error: {error}", file=sys.stderr)
                    codes.append(2)
            value = outcome(search.objective, run)
            pruned = PRUNED in read_summary(run).get("metrics", {})
            tell(study, trial, math.nan if value is None else value, pruned)
        summarise(folder)
        draw(study, folder)


def _at_work(folder: Path, number: int) -> bool:
    """Whether the run of a trial goes on, as it does when only the process above it was killed."""
    for run in folder.glob(f"{number}_*/"):
        try:
            with sole_writer(run):
                return False
        except UserError:
            return True
    return False


def _conclude(search: Search, folder: Path, study: "Study") -> None:
    trials = study.get_trials(deepcopy=False)
    ended = Counter(trial.state.name.lower() for trial in trials)
    others = [f", {ended[state]} {said}" for state, said in _SAID.items() if ended[state]]
    whole = ended["complete"]
    print(f"{whole} of {len(trials)} trials finished{''.join(others)}: {folder / 'summary.csv'}")
    if whole:
        best = study.best_trial
        values = " ".join(f"{name}={value}" for name, value in best.params.items())
        figure = f"{search.objective}: {rounded(study.best_value)}"
        print(f"best {figure} in trial {best.number}, with {values}")
