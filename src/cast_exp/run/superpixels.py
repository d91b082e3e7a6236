"""Superpixel methods by the names of their configs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cast_exp.config import nearest, options
from cast_exp.errors import UserError
from cast_exp.run.build import build
from cast_exp.run.folder import RUN, run_of
from cast_exp.run.saved import read_yaml
from cast_exp.run.tree import compose, config_tree
from cast_exp.superpixels.base import SuperpixelMethod

_PIXELS = 16 * 16
"""For a superpixel, in all of the paper's experiments."""
_CELL = 8 * 8
"""Pixels of a cell of the feature grid."""


def load_methods(
    names: Sequence[str], count: int | None, config_dir: Path | None = None
) -> dict[str, SuperpixelMethod]:
    """Build methods from their files in ``conf/superpixel``.

    Args:
        names: Names of the files.
        count: Superpixels to ask for; None leaves it to the files.
        config_dir: A folder of the user's with more config files.

    Raises:
        UserError: An unknown name, or whatever the method says.
    """
    with config_tree(extra=config_dir):
        known = options("superpixel")
        if unknown := [name for name in names if name not in known]:
            raise UserError(f"no superpixel method {unknown[0]!r}; {nearest(unknown[0], known)}")
        nodes = {name: compose(f"superpixel/{name}").superpixel for name in names}
    asked = {} if count is None else {"count": count}
    methods = {name: build(node, **asked) for name, node in nodes.items()}
    for name, method in methods.items():
        if not isinstance(method, SuperpixelMethod):
            raise UserError(f"{name} is a {type(method).__name__}, not a SuperpixelMethod")
    return methods


def usual_count(checkpoint: str | None, size: int) -> int:
    """Superpixels to ask for in pictures of one's own, as dense as those that a model has learnt.

    But there are no more than cells of the feature grid: a run of tiny images would otherwise make
    tens of thousands.

    Args:
        checkpoint: Of the model. If it is in no folder of a run, which tells the density, there is
            a superpixel for 16 x 16 pixels.
        size: Side of a square, in pixels.
    """
    run = run_of(checkpoint)
    pixels = (_pixels_each(read_yaml(run / RUN)) if run else None) or _PIXELS
    return max(round(size**2 / max(pixels, _CELL)), 1)


def _pixels_each(config: Any) -> float | None:
    """Pixels for each superpixel that a run has asked for; None if its config does not tell."""
    try:
        side = config["data"].get("crop") or config["data"]["image_size"]
        return float(side) ** 2 / float(config["superpixel"]["count"])
    except (LookupError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        return None
