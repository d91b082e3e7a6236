"""Which weights a run is built on."""

from typing import Any

from cast_exp.checkpoints.load import Weights, locate
from cast_exp.download.records import digest_of
from cast_exp.run.folder import run_of


def source_of(checkpoint: str | None, weights: Weights) -> dict[str, Any]:
    """What tells weights apart, in plain values.

    Args:
        checkpoint: Where they are from; None for none.
        weights: Which of those there.

    Returns:
        `checkpoint`, its path; `run`, the folder of the run that made it, or None; `which`; and
        `sha256` of a file. Of untrained weights only `checkpoint`, which is None.

    Raises:
        UserError: The checkpoint does not exist.
    """
    if checkpoint is None:
        return {"checkpoint": None}
    path, run = locate(checkpoint).resolve(), run_of(checkpoint)
    file = {"sha256": digest_of(path)} if path.is_file() else {}
    return {"checkpoint": str(path), "run": run and str(run), "which": weights} | file
