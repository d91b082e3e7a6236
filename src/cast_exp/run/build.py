"""Building what a config names."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from cast_exp.errors import UserError


def build(node: Any, **parts: Any) -> Any:
    """Instantiate a node and all inside it.

    Args:
        node: Config with a `_target_`.
        parts: Arguments that are built already.

    Raises:
        UserError: Raised by what is built; Hydra would wrap it.
    """
    try:
        return instantiate(node, **parts, _convert_="all")
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UserError):
                raise cause from error
            cause = cause.__cause__
        raise
