"""The Semantic Boundaries Dataset (Hariharan et al., 2011): label maps out of MATLAB files."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from cast_exp.errors import UserError
from cast_exp.ops.files import atomic_write


def write_labels(dataset: Path) -> set[str]:
    """The label map of each image as an 8-bit PNG, written unless it is there.

    Args:
        dataset: SBD's folder ``dataset``, with ``cls/<name>.mat``. The maps go to
            ``SegmentationClass/<name>.png`` beside that, each in one go.

    Returns:
        The names.

    Raises:
        UserError: No such files, one cannot be read, the folder cannot be written, or scipy is not
            installed.
    """
    names = sorted(file.stem for file in (dataset / "cls").glob("*.mat"))
    if not names:
        raise UserError(f"no *.mat in {dataset / 'cls'}; expected SBD as published")
    folder = dataset / "SegmentationClass"
    try:
        folder.mkdir(exist_ok=True)
        there = set(os.listdir(folder))
        missing = [name for name in names if f"{name}.png" not in there]
        console = Console(stderr=True)
        disable = not (missing and console.is_terminal)
        for name in track(missing, "label maps of SBD", console=console, disable=disable):
            labels = _labels(dataset / "cls" / f"{name}.mat").astype(np.uint8)
            with atomic_write(folder / f"{name}.png") as new:
                Image.fromarray(labels).save(new, "png")
    except OSError as error:
        raise UserError(
            f"cannot write label maps to {folder} ({error.strerror}); they are made of SBD's *.mat "
            "once: let the first run do so where it may, or copy the data"
        ) from error
    return set(names)


def _labels(file: Path) -> Any:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError("reading SBD needs scipy; pip install 'cast_exp[eval]'") from error
    try:
        return loadmat(file)["GTcls"]["Segmentation"][0, 0]
    except Exception as error:  # scipy raises anything
        raise UserError(
            f"{file} is not a file of SBD or is damaged ({error}); fetch it again"
        ) from error
