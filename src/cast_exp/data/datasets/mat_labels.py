"""Label maps out of MATLAB files, written as PNG once."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from cast_exp.errors import UserError
from cast_exp.extras import from_extra
from cast_exp.output.files import atomic_write


def write_maps(
    files: Sequence[Path], folder: Path, labels: Callable[[dict[str, Any]], Any], source: str
) -> None:
    """Write the label map of each file as an 8-bit PNG, unless it is there.

    Args:
        files: `<name>.mat` each.
        folder: Where the maps go, as `<name>.png`, each in one go.
        labels: Makes a map of classes, integers (H, W) in 0..255, of what a file holds.
        source: The data set, for messages.

    Raises:
        UserError: A file cannot be read as one of the data set, the folder cannot be written, or
            scipy is not installed.
    """
    try:
        folder.mkdir(exist_ok=True)
        there = set(os.listdir(folder))
        missing = [file for file in files if f"{file.stem}.png" not in there]
        console = Console(stderr=True)
        disable = not (missing and console.is_terminal)
        for file in track(missing, f"label maps of {source}", console=console, disable=disable):
            drawn = _read(file, labels, source).astype(np.uint8)
            with atomic_write(folder / f"{file.stem}.png") as new:
                Image.fromarray(drawn).save(new, "png")
    except OSError as error:
        raise UserError(
            f"cannot write label maps to {folder} ({error.strerror}); they are made of {source}'s "
            "*.mat once: let the first run do so where it may, or copy the data"
        ) from error


def _read(file: Path, labels: Callable[[dict[str, Any]], Any], source: str) -> Any:
    scipy_io = from_extra("eval", f"reading {source}", "scipy.io")
    try:
        return labels(scipy_io.loadmat(file))
    except Exception as error:  # scipy raises anything
        raise UserError(
            f"{file} is not a file of {source} or is damaged ({error}); fetch it again"
        ) from error
