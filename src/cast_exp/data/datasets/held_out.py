"""Which images validate where a data set has none for it: a share of the training images."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cast_exp.data.datasets.base import NoSuchSplit, Split
from cast_exp.errors import UserError

Share = Annotated[float, Field(ge=0, lt=1)]


def part_of(split: Split, names: Iterable[bytes], share: float) -> NDArray[np.bool_]:
    """Which of the images are in a split, where validation images are drawn from the others.

    An image is held out for validation if a hash of its name is below the share of all hashes. So
    its fate depends on its own name only: images that are added move none. There is one exception,
    so that no split is empty: if there is none below (or none above), that of the lowest hash (of
    the highest) is.

    Args:
        split: "train" or "val".
        names: Of all images, each with its folders below that of the data, joined by "/".
        share: Of the images, that is to be held out; 0 for none.

    Returns:
        True for the images of the split, bool (number of names,).

    Raises:
        NoSuchSplit: "val" is asked for and the share is 0.
        UserError: There is one image only to be shared out.
    """
    if split == "val" and not share:
        raise NoSuchSplit(
            "the data set has no val split (data.dataset.val is null, data.dataset.held_out is 0)"
        )
    hashes = np.fromiter(map(_hash, names), np.uint64)
    chosen = hashes < share * 2.0**64
    if share and len(hashes):
        chosen = (chosen | (hashes == hashes.min())) & (hashes != hashes.max())
    if share and not chosen.any():
        raise UserError(
            "there is one image only, which cannot be for training and for validation; add images, "
            "or set data.dataset.held_out=0"
        )
    return chosen if split == "val" else ~chosen


def _hash(name: bytes) -> int:
    return int.from_bytes(blake2b(name).digest()[:8], "big")
