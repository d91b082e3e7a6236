"""Files that say which classes are taken for which."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cast_exp.output.files import atomic_write, write_csv
from cast_exp.viz import confusion_matrix
from cast_exp.viz.draw import Labels

_PAIRS = 100
_PAINTED = 60  # classes, beyond which nothing could be read


def write_confusion(
    folder: Path, table: Labels, rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Write `confusion.csv`, the pairs confused most as `confused.csv`, and a picture.

    `confusion.png` is left out where there are more than 60 classes.

    Args:
        folder: Where they go.
        table: Images or pixels by class in truth (row) and in prediction (column), int (R, C).
        rows: Names of the true classes.
        columns: Names of the predicted classes; the first R are the same.
    """
    named = ([name, *counts] for name, counts in zip(rows, table.tolist(), strict=True))
    write_csv(folder / "confusion.csv", [["true", *columns], *named])
    wrong = table.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    pairs = [
        (rows[row], columns[column], wrong[row, column], wrong[row, column] / table[row].sum())
        for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[row, column]
    ]
    write_csv(folder / "confused.csv", [("true", "predicted", "count", "share"), *pairs])
    if len(columns) <= _PAINTED:
        with atomic_write(folder / "confusion.png") as new:
            confusion_matrix(table, rows, columns).savefig(new, format="png", dpi=120)
