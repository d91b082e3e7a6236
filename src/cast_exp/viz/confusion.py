"""The confusion matrix as a picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cast_exp.viz.draw import Labels

_WRITTEN = 25  # classes, up to which there is room for numbers


def confusion_matrix(table: Labels, rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Paint what becomes of each class, as a share of its row.

    Args:
        table: Images or pixels by class in truth (row) and in prediction (column), int (R, C).
        rows: Names of the true classes.
        columns: Names of the predicted classes.

    Returns:
        The figure; save it with `figure.savefig(path)`.
    """
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    side = 2.5 + 0.32 * len(columns)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("% of each true class", fontsize=9)
    if len(columns) <= _WRITTEN:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                colour = "white" if share > 0.5 else "black"
                text = f"{100 * share:.0f}"
                axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    return figure
