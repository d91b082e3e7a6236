"""The pixels of each class in label maps, and what looks wrong about them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cast_exp.ops.labels import VOID

_SHOWN = 5
_MOST_VOID = 0.5


def class_pixels(labels: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Pixels of each class and, last, of void, in a label map (H, W): (classes + 1,)."""
    counts = np.bincount(np.ravel(labels), minlength=max(classes, VOID) + 1)
    return np.append(counts[:classes], counts[VOID])


def class_faults(
    pixels: NDArray[np.int64], classes: Sequence[str], sampled: bool = False
) -> list[str]:
    """Classes that do not occur, and void that covers most; one line each.

    Args:
        pixels: Sums of `class_pixels`.
        classes: Names of the classes.
        sampled: These are not all label maps, so that classes may be missing, but not half of them.
    """
    faults: list[str] = []
    if not pixels.any():
        return faults
    missing = [name for name, count in zip(classes, pixels, strict=False) if count == 0]
    if missing and (not sampled or 2 * len(missing) >= len(classes)):
        shown = ", ".join(missing[:_SHOWN]) + ", ..." * (len(missing) > _SHOWN)
        hint = ""
        if len(classes) - len(missing) == 1 and pixels[-1] > 0:
            hint = f"; masks of 0 and {VOID}? Set 'data.dataset.label_map={{0:0,{VOID}:1}}'"
        faults.append(f"{len(missing)} of {len(classes)} classes have no pixel: {shown}{hint}")
    if (void := pixels[-1] / pixels.sum()) > _MOST_VOID:
        faults.append(f"{void:.0%} of the pixels are void ({VOID})")
    return faults
