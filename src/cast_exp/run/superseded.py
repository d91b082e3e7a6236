"""What of a folder of runs something newer has made needless, and how it is deleted safely."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cast_exp.errors import UserError
from cast_exp.run.folder import SEARCH, SWEEP, checkpoints, idle, sole_writer
from cast_exp.run.record import RunRecord
from cast_exp.run.saved import read_yaml

_NO_SETTING = ("resume", "resume_changes", "plugins", "paths", "objective")


@dataclass(frozen=True)
class Superseded:
    """Something that can go.

    Attributes:
        path: A folder of a run, or a checkpoint.
        run: The folder of the run.
        reason: Why, as a clause.
    """

    path: Path
    run: Path
    reason: str

    def delete(self) -> None:
        """Delete it, unless a run has begun to work there since.

        Raises:
            UserError: One has, or the system does not let it be deleted.
        """
        with sole_writer(self.run):
            try:
                if self.path.is_dir():
                    shutil.rmtree(self.path)
                else:
                    self.path.unlink()
            except OSError as error:
                raise UserError(f"{self.path} cannot be deleted ({error.strerror})") from error


def superseded(records: Sequence[RunRecord]) -> list[Superseded]:
    """What can go of some runs.

    - A run that did not finish, when a newer one of the same config did. Not a job of a sweep, nor
      one with evaluations.
    - The checkpoints of every so many steps, when a run is finished and has its last one.

    What is in use stays: runs that are at work, and runs that others name as their weights.

    Args:
        records: All runs there are, oldest first, as those that are used are among them.
    """
    settings = [(record, settings_of(record)) for record in records]
    named = "\n".join(str(text) for _, found in settings for text in found.values())
    found = []
    for number, (record, own) in enumerate(settings):
        run = record.folder
        if f"{run.parent.name}/{run.name}" in named or not idle(run):
            continue
        if record.status == "finished":
            reason = "the run is finished and has last.ckpt"
            steps = [path for path in checkpoints(run) if path.name.startswith("step")]
            whole = (run / "checkpoints" / "last.ckpt").is_file()
            found += [Superseded(path, run, reason) for path in sorted(steps) if whole]
        elif own and not _part_of_more(run):
            later = (r for r, other in settings[number + 1 :] if other == own)
            newer = next((r.folder for r in later if r.status == "finished"), None)
            if newer:
                reason = f"{record.status}; {newer.parent.name}/{newer.name} has finished since"
                found.append(Superseded(run, run, reason))
    return found


def settings_of(record: RunRecord) -> dict[str, Any]:
    """The config of a run by dotted keys, references as they were written; what names it apart."""
    try:
        config = read_yaml(record.folder / ".hydra" / "config.yaml")
    except UserError:
        config = record.config
    leaves = _leaves(config) if isinstance(config, Mapping) else ()
    return {key: value for key, value in leaves if key.partition(".")[0] not in _NO_SETTING}


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    places = (Path(place, name) for place, _, names in os.walk(path) for name in names)
    return sum(place.lstat().st_size for place in places)


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _part_of_more(run: Path) -> bool:
    """Whether other results rest on this folder."""
    whole = (run.parent / SWEEP).is_file() or (run.parent / SEARCH).is_file()
    return whole or (run / "eval").exists() or run.parent.name == "eval" or run.is_symlink()
