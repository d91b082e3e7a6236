"""The figure that a search over runs looks at, and which way it gets better."""

from fnmatch import fnmatch
from math import nan
from pathlib import Path
from typing import Literal

from cast_exp.config import nearest
from cast_exp.errors import UserError, listing
from cast_exp.run.folder import read_summary
from cast_exp.study import PRUNED

Direction = Literal["maximize", "minimize"]

_LESS_IS_BETTER = (
    *("*loss*", "*error*", "*entropy*", "*/vi/*", "*nesting*"),
    *("time/*", "*seconds*", "*_wait", "*memory*", "*gflops", "model/*"),
)
"""Names of figures that are better low; all others are accuracies, overlaps or rates."""


def direction(metric: str) -> Direction:
    """Which way a figure gets better, by its name: "minimize" for losses, times and memory."""
    low = any(fnmatch(metric.lower(), pattern) for pattern in _LESS_IS_BETTER)
    return "minimize" if low else "maximize"


def outcome(metric: str | None, folder: Path) -> float | None:
    """What a sweeper is told of a run: its objective, NaN if it has not ended well.

    Args:
        metric: Name of the objective, None if there is none.
        folder: Of the run.

    Raises:
        UserError: The run has ended well without a finite figure of that name.
    """
    if metric is None:
        return None
    summary = read_summary(folder)
    if summary.get("status") != "finished":
        return nan
    metrics: dict[str, float] = summary["metrics"]
    if PRUNED in metrics:
        return metrics.get(metric, nan)
    if metric not in metrics:
        raise UserError(
            f"objective={listing([metric])}: the run is finished and saved, but has no such figure "
            f"(or one that is not finite); {nearest(metric, metrics)}"
        )
    return float(metrics[metric])
