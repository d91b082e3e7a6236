"""What the folders of runs tell of them: choices, results, curves and pictures to compare."""

import csv
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cast_exp.config import key_of
from cast_exp.errors import UserError
from cast_exp.run.folder import RUN, idle, read_summary, require_folder
from cast_exp.run.saved import Kind, Saved, read_yaml
from cast_exp.study import PRUNED

Curve = tuple[list[int], list[float]]
"""Steps, ascending, and the value at each."""

KILLED = "killed?"
"""What is said of a run whose summary says that it is running, but where no process is at work."""

_NO_CHOICE = {"hydra", "local", "logger", "paths", "resume"}  # what changes no result
_REPEATED = ("seed", "name", "evaluate", "evaluate_untrained", "objective", "resume_changes")
_ASIDE = ("train/", "throughput/", "model/", "time/", "lr", PRUNED)  # metrics that are no results
_RECIPE = "experiment"
_COUNTERS = {"epoch", "step"}
_NO_PICTURES = {"checkpoints", "eval", "untrained"}
_UNTRAINED = "untrained/"
_IDLE = "it was running, but no process is at work there"
_STEP = re.compile(r"step(\d+)")


@dataclass(frozen=True)
class RunRecord:
    """A training or an evaluation that has begun, and perhaps ended.

    Attributes:
        folder: Of the run.
        saved: The command that it was started with.
        summary: Content of its `summary.json`.
        untrained: Whether this is of the weights that the run began with, which some also evaluate.
    """

    folder: Path
    saved: Saved
    summary: Mapping[str, Any]
    untrained: bool = False

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Read it.

        Args:
            folder: Of a run.

        Raises:
            UserError: It does not exist, or what Hydra has left in it is missing or damaged.
        """
        require_folder(folder, "the folder of a run")
        return cls(folder, Saved.read(folder), read_summary(folder))

    def beginning(self) -> "RunRecord | None":
        """What is known of the untrained weights; None if they were not evaluated."""
        if not any(name.startswith(_UNTRAINED) for name in self.summary.get("metrics") or {}):
            return None
        return replace(self, untrained=True)

    @property
    def kind(self) -> Kind:
        """Whether it is a training or an evaluation."""
        return self.saved.kind

    @cached_property
    def status(self) -> str:
        """How it stands; see `status_of`."""
        return status_of(self.folder, self.summary)

    @property
    def reason(self) -> str:
        """Why it did not finish, as far as that is known; else empty."""
        return _IDLE if self.status == KILLED else str(self.summary.get("error") or "")

    @cached_property
    def started(self) -> str:
        """When it first began, in ISO format; empty where that is not recorded."""
        try:
            return str(read_yaml(self.folder / "run.json")[0]["started"])
        except (UserError, LookupError, TypeError):
            return ""

    @cached_property
    def choices(self) -> dict[str, str]:
        """The option of each config group, then what else was typed, by key."""
        typed = (text.partition("=") for text in self.saved.overrides)
        given = {key_of(key): value for key, _, value in typed}
        found = {
            **self.saved.choices,
            **{k: v for k, v in given.items() if k not in self.saved.choices},
        }
        return {k: v for k, v in found.items() if re.split(r"[./@]", k)[0] not in _NO_CHOICE}

    @cached_property
    def variant(self) -> str:
        """What was typed that may change a result, but for the seed: runs of one variant repeat."""
        keys = [key_of(text) for text in self.saved.overrides]
        return " ".join(
            f"{key}={self.choices[key]}"
            for key in dict.fromkeys(keys)
            if key in self.choices and key not in _REPEATED
        )

    def value(self, key: str) -> str:
        """What a choice was, also where it was not typed; empty if there is no such key."""
        if key in self.choices:
            return self.choices[key]
        node: Any = self.config
        for name in key.split("."):
            node = node.get(name) if isinstance(node, Mapping) else None
        return "" if node is None or isinstance(node, Mapping) else str(node)

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The config, resolved; empty where it is missing or damaged."""
        try:
            found = read_yaml(self.folder / RUN)
        except UserError:
            return {}
        return found if isinstance(found, Mapping) else {}

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Final metrics, and the last values of what was only logged. Finite ones only."""
        final = {k: _number(v) for k, v in (self.summary.get("metrics") or {}).items()}
        found = {name: values[-1] for name, (_, values) in self.curves.items()}
        found |= {name: value for name, value in final.items() if value is not None}
        if self.untrained:
            split = {
                k.removeprefix(_UNTRAINED): v for k, v in found.items() if k.startswith(_UNTRAINED)
            }
            return split | {k: v for k, v in found.items() if k.startswith("model/")}
        return {name: value for name, value in found.items() if not name.startswith(_UNTRAINED)}

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """What was logged in the course of the run, by metric. Finite values only."""
        points: dict[str, dict[int, float]] = defaultdict(dict)
        for row in _rows(self.folder / "metrics.csv"):
            step = _number(row.get("step"))
            for name, text in row.items():
                value = None if name in _COUNTERS else _number(text)
                if step is not None and value is not None:
                    points[name][int(step)] = value  # a resumed run repeats steps: the last counts
        return {
            name: (sorted(found), [found[step] for step in sorted(found)])
            for name, found in points.items()
        }

    def pictures(self) -> dict[str, dict[str, Path]]:
        """PNG files by folder and then by what they show: a step such as "step 230", or a name."""
        found: dict[str, dict[str, Path]] = {}
        top = self.folder / _UNTRAINED if self.untrained else self.folder
        for place, inner, names in os.walk(top):
            if Path(place) == top:
                inner[:] = [name for name in inner if name not in _NO_PICTURES]
            kind = Path(place).relative_to(top).as_posix()
            for name in sorted(names):
                if name.endswith(".png") and not name.startswith("."):
                    step = _STEP.fullmatch(name[:-4])
                    title = f"step {int(step[1])}" if step else name[:-4]
                    found.setdefault(kind, {})[title] = Path(place, name)
        return dict(sorted(found.items()))


def status_of(folder: Path, summary: Mapping[str, Any]) -> str:
    """How a run or multirun stands: a `Status`, `KILLED`, or "unknown" if its summary is damaged.

    Args:
        folder: Of it.
        summary: Content of its `summary.json`.
    """
    status = str(summary.get("status", "unknown"))
    return KILLED if status == "running" and idle(folder) else status


def find_runs(places: Iterable[Path]) -> list[Path]:
    """The folders of all runs in some places, oldest first.

    Args:
        places: Folders of runs, or folders with such folders at any depth, as those of multiruns.

    Raises:
        UserError: A place does not exist, or has no run in it.
    """
    found: dict[Path, None] = {}
    for place in places:
        require_folder(place, "a folder of runs")
        if not (here := list(_runs_in(place))):
            raise UserError(
                f"no run in {place}: the folder of a run has the files {RUN} and .hydra/hydra.yaml"
            )
        found |= dict.fromkeys(here)
    return sorted(found, key=lambda folder: ((folder / RUN).stat().st_mtime_ns, str(folder)))


def varying(records: Iterable[RunRecord]) -> list[str]:
    """The choices that are not the same in all runs, in order of appearance; `seed` is the last.

    Groups whose option follows from the experiment are left out.
    """
    records = list(records)
    groups = {group for record in records for group in record.saved.choices}
    keys = dict.fromkeys(key for record in records for key in record.choices)
    pairs = {
        key: {(record.value(_RECIPE), record.value(key)) for record in records} for key in keys
    }
    recipes = len(pairs.get(_RECIPE, ()))
    found = [
        key
        for key, seen in pairs.items()
        if len({value for _, value in seen}) > 1
        and (key == _RECIPE or key not in groups or len(seen) > recipes)
    ]
    return sorted(found, key=lambda key: key == "seed")


def is_result(metric: str) -> bool:
    """Whether a metric tells how good the outcome of a run is."""
    return not metric.startswith(_ASIDE)


def _runs_in(place: Path) -> Iterator[Path]:
    for folder, inner, names in os.walk(place):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if RUN in names and Path(folder, ".hydra", "hydra.yaml").is_file():
            inner[:] = [name for name in inner if name == "eval"]
            yield Path(folder).resolve()


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            yield from csv.DictReader(file)
    except (OSError, csv.Error):
        return


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
