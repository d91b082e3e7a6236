"""Keeps which training images a run holds out for validation."""

import logging
import os
from pathlib import Path

from cast_exp.data.base import RawDataModule
from cast_exp.output.files import atomic_write
from cast_exp.run.folder import rank

log = logging.getLogger(__name__)

HELD_OUT = "held_out.txt"


def record_held_out(folder: Path, data: RawDataModule) -> None:
    """Write the names of the images that are held out, one a line, and log how many there are.

    Does nothing where there are none, or in another process than the first.

    Args:
        folder: Folder of the run, where `held_out.txt` is written.
        data: What the run trains on.

    Raises:
        UserError: Missing data or a wrong layout.
    """
    names = data.held_out()
    if not names or rank() != 0:
        return
    path = folder / HELD_OUT
    with atomic_write(path) as new:
        new.write_bytes(b"".join(os.fsencode(name) + b"\n" for name in names))
    log.info(
        "%d of %d images validate and are not trained on, as data.dataset.val is null: %s",
        len(names),
        len(names) + len(data.raw("train")),
        path,
    )
