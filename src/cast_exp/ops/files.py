"""Files written for good: they appear whole or not at all."""

import csv
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any


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
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{token_hex(8)}")
    try:
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


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
