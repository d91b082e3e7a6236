"""Superpixel methods by the names of their configs."""

from collections.abc import Sequence
from pathlib import Path

from cast_exp.config import nearest, options
from cast_exp.errors import UserError
from cast_exp.run.build import build
from cast_exp.run.tree import compose, config_tree
from cast_exp.superpixels.base import SuperpixelMethod


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
