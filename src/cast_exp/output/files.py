"""Files written for good: they appear whole or not at all."""

import csv
import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from cast_exp.errors import UserError

PARTIAL = re.compile(r"\..+\.[0-9a-f]{16}")
"""Names of files that `atomic_write` has not finished."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file that replaces the one at `path` in one go.

    A reader finds the former file or all of the new one, also when this process is killed or the
    machine crashes. Where several threads or processes write the same file, the last one wins.

    Args:
        path: The file; its folder is made.

    Yields:
        A path beside it, hidden and without its suffix (so name the format when saving), to write
        to. It is renamed to `path` when the block ends, and removed when the block raises.

    Raises:
        OSError: The file cannot be written.
        UserError: The disk is full; see `room_for`.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    partial = path.with_name(f".{path.name}.{token_hex(8)}")
    try:
        with room_for(path, partial):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.touch()
            mode = partial.stat().st_mode
            yield partial
            partial.chmod(mode)  # safetensors makes files that nobody else can read
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        _sync_folder(path.parent)
    finally:
        with suppress(OSError):  # rather tell what went wrong before
            partial.unlink(missing_ok=True)


@contextmanager
def room_for(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Write to a file, and say in one line that the disk is full if it is.

    Args:
        path: The file.
        partial: What is written in its stead and will be removed.

    Raises:
        UserError: No space or quota is left, whichever library has run into it.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or (number := _out_of_space(error)) is None:
            raise
        folder = next(each for each in path.parents if each.is_dir())
        written = partial.stat().st_size if partial and partial.is_file() else 0
        former = path.stat().st_size if path.is_file() else 0
        needed = f"about {_mib(former)}" if former > written else f"more than {_mib(written)}"
        free = _mib(shutil.disk_usage(folder).free + written)
        raise UserError(
            f"{path} cannot be written: {os.strerror(number).lower()} (needed: {needed}, free in "
            f"{folder}: {free}); make room there, then run the same command or resume the run"
        ) from error


def _out_of_space(error: BaseException | None) -> int | None:
    """The error number that says so, of an exception or of what it was raised from."""
    while error is not None:
        for number in _FULL:
            # safetensors, in Rust, has the number in its text only.
            if getattr(error, "errno", None) == number or f"(os error {number})" in str(error):
                return number
        error = error.__cause__ or error.__context__
    return None


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can do so."""
    with suppress(AttributeError, OSError):  # Windows; some network file systems
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, as `atomic_write` does."""
    with atomic_write(path) as new:
        new.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write plain values as indented JSON, as `atomic_write` does."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, rows: Iterable[Iterable[Any]]) -> None:
    """Write a CSV file, UTF-8, the first row its header, as `atomic_write` does."""
    with atomic_write(path) as new, open(new, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
