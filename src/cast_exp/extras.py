"""Packages that come with an extra of this one, and may not be installed."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from cast_exp.errors import UserError


def from_extra(extra: str, what: str, module: str) -> Any:
    """Import a module of a package that an extra brings.

    Args:
        extra: Name of the extra, as in `pip install 'cast-exp[EXTRA]'`.
        what: What the package is needed for, as the user knows it.
        module: Full name of the module.

    Returns:
        The module.

    Raises:
        UserError: Its package is not installed, or cannot be imported.
    """
    package = module.partition(".")[0]
    need_extra(extra, what, package)
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f"{what} needs {package}, which cannot be imported ({error}); "
            f"install it anew: {_command(extra)}"
        ) from error


def need_extra(extra: str, what: str, *packages: str, instead: str | None = None) -> None:
    """See that packages of an extra are installed, without the time to import them.

    Args:
        extra: See `from_extra`.
        what: See `from_extra`.
        packages: Names that they are imported by.
        instead: What else would do, after "or".

    Raises:
        UserError: One is not installed.
    """
    if missing := [package for package in packages if not _is_installed(package)]:
        them, other = "them" if missing[1:] else "it", f", or {instead}" if instead else ""
        raise UserError(
            f"{what} needs {', '.join(missing)}; install {them}: {_command(extra)}{other}"
        )


def _is_installed(package: str) -> bool:
    """Whether there is a package, and not just a folder of its name in the working directory."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


def _command(extra: str) -> str:
    return f"pip install 'cast-exp[{extra}]'"
