"""Lets the superpixels of dense evaluations follow those of the run, in terms of overrides."""

from collections.abc import Collection, Sequence
from functools import cache

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from cast_exp.config import key_of
from cast_exp.run.resolvers import dense
from cast_exp.run.tree import compose

_GROUP, _NODE = "superpixel", "scenes.superpixel"


def following(config: DictConfig, overrides: Sequence[str], swept: Collection[str]) -> list[str]:
    """Overrides that set in `scenes.superpixel` what has been changed of `superpixel`.

    The method follows by the list of defaults. Its parameters do so by this: those that differ from
    what the file of the method says, or that are swept; but for the number of superpixels, which is
    that of the scenes.

    Args:
        config: What the overrides compose to.
        overrides: The command.
        swept: Keys that are swept, and left out of the config.
    """
    choices, given = config.hydra.runtime.choices, {key_of(text) for text in overrides}
    if f"{_GROUP}@{_NODE}" in given or choices[f"{_GROUP}@{_NODE}"] != dense(choices[_GROUP]):
        return []  # another method has been named
    path = GlobalHydra.instance().config_loader().get_search_path()
    written = _written(choices[_GROUP], str(path))
    changed = {str(key) for key, value in config[_GROUP].items() if value != written.get(key)}
    changed |= {key.removeprefix(f"{_GROUP}.") for key in swept if key.startswith(f"{_GROUP}.")}
    return [
        f"{'' if key in config.scenes.superpixel else '+'}{_NODE}.{key}=${{{_GROUP}.{key}}}"
        for key in sorted(changed - {"count"})
        if f"{_NODE}.{key}" not in given
    ]


@cache
def _written(method: str, search_path: str) -> DictConfig:
    """What the file of a superpixel method says, on a search path of Hydra."""
    node: DictConfig = compose(f"{_GROUP}/{method}")[_GROUP]
    return node
