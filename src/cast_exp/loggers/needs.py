"""The packages that loggers need and that are extras of this one."""

from importlib.util import find_spec

from cast_exp.errors import UserError


def need(package: str) -> None:
    """Make sure that the package of a logger is installed.

    Raises:
        UserError: It is not.
    """
    if find_spec(package) is None:
        raise UserError(
            f"logger={package} needs the package {package}; "
            f"pip install 'cast-exp[{package}]', or use logger=csv"
        )
