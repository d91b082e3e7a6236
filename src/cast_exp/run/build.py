"""Building what a config names."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from cast_exp.errors import UserError
from cast_exp.plugins import resolve


def build(node: Any, **parts: Any) -> Any:
    """Instantiate a node and all inside it.

    Args:
        node: Config with a `_target_`.
        parts: Arguments that are built already.

    Raises:
        UserError: Raised by what is built; Hydra would wrap it. Or something in it is of a package
            that is not allowed, or refers to something when all references have been followed.
    """
    if OmegaConf.is_config(node):
        node = OmegaConf.to_container(node, resolve=True)
    _check(node)
    try:
        return instantiate(node, **parts, _convert_="all")
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UserError):
                raise cause from error
            cause = cause.__cause__
        raise


def _check(node: Any) -> None:
    """Look at all that `instantiate` would import or, a second time, resolve."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            resolve(node["_target_"])
        for inner in node.values():
            _check(inner)
    elif isinstance(node, str):
        if "${" in node:
            raise UserError(f"{node}: references cannot be nested or escaped; write the value")
    elif isinstance(node, Sequence):
        for inner in node:
            _check(inner)
