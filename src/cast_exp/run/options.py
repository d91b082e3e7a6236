"""Options that commands without overrides share; quick to import."""

import os
from argparse import ArgumentParser, ArgumentTypeError
from math import inf
from pathlib import Path

WEIGHTS = ("trained", "average")
"""Those of a supervised training; `cast_exp.checkpoints.Weights`, which takes torch to import."""


def plain(text: str | None) -> str:
    """A docstring as a terminal shows it: without the marks of code."""
    return (text or "").replace("`", "")


def add_config_dir(parser: ArgumentParser) -> None:
    """Add `--config-dir`."""
    parser.add_argument(
        "--config-dir", type=given_path, metavar="DIR", help="a folder of yours with config files"
    )


def add_plugins(parser: ArgumentParser) -> None:
    """Add `--plugins`; `cast_exp.run.trust.allow_parts` follows it."""
    parser.add_argument(
        "--plugins", metavar="A,B,...", help="packages of yours that parts may come from"
    )


def given(text: str) -> str:
    """A text that is not empty."""
    if not text:
        raise ArgumentTypeError("it is empty; is a variable of the shell not set?")
    return text


def given_path(text: str) -> Path:
    """A path that is not empty, which would be the working directory."""
    return Path(given(text))


def new_folder(text: str) -> Path:
    """A folder to write into, which is made if need be."""
    path = given_path(text)
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not there.is_dir():
        raise ArgumentTypeError(f"{there} is a file, not a folder")
    if not os.access(there, os.W_OK):
        raise ArgumentTypeError(f"{there} may not be written to")
    return path


def new_file(text: str) -> Path:
    """A file to write, whose folder is made if need be."""
    path = given_path(text)
    if path.is_dir():
        raise ArgumentTypeError(f"{path} is a folder, not a file")
    new_folder(str(path.parent))
    return path


def level_counts(text: str) -> tuple[int | float, ...]:
    """Segments of each level, of an option such as `--levels 64,32,0.1`."""
    try:
        parts = [part.strip() for part in text.split(",")]
        return tuple(int(part) if part.isdecimal() else float(part) for part in parts)
    except ValueError:
        wrong = f"{text!r} is not a list of numbers like 64,32,16,8"
        raise ArgumentTypeError(wrong) from None


def positive(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def positive_number(text: str) -> float:
    """A number above 0, and finite."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < inf:
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
