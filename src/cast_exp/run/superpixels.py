"""Superpixel methods by the names of their configs."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir

from cast_exp.config import conf_dir, nearest
from cast_exp.errors import UserError
from cast_exp.run.build import build
from cast_exp.superpixels.base import SuperpixelMethod


def load_methods(names: Sequence[str], count: int | None) -> dict[str, SuperpixelMethod]:
    """Build methods from their files in ``conf/superpixel``.

    Args:
        names: Names of the files.
        count: Superpixels to ask for; None leaves it to the files.

    Raises:
        UserError: An unknown name, or whatever the method says.
    """
    known = sorted(path.stem for path in (conf_dir() / "superpixel").glob("*.yaml"))
    for name in names:
        if name not in known:
            raise UserError(f"no superpixel method {name!r}; {nearest(name, known)}")
    methods = {}
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for name in names:
            overrides = [f"+superpixel={name}"]
            if count is not None:
                overrides.append(f"superpixel.count={count}")
            methods[name] = build(compose(overrides=overrides).superpixel)
    return methods
