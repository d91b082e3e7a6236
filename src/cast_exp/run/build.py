"""Building what a config names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from cast_exp.errors import UserError
from cast_exp.plugins import resolve


def build(node: Any, **parts: Any) -> Any:
    """Instantiate a node and all inside it.

    Args:
        node: Config with a `_target_`.
        parts: Arguments that are built already.

    Raises:
        UserError: Raised by what is built; Hydra would wrap it. Or something in it is of a package
            that is not allowed.
    """
    for target in _targets(node):
        resolve(target)
    try:
        return instantiate(node, **parts, _convert_="all")
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UserError):
                raise cause from error
            cause = cause.__cause__
        raise


def _targets(node: Any) -> Iterator[str]:
    """Import paths of all that is built for a node."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        for inner in node.values():
            yield from _targets(inner)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for inner in node:
            yield from _targets(inner)
