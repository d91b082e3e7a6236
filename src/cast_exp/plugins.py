"""Which packages the parts of a run may come from, and the one way to import a part by its name.

Config files and checkpoints name parts by import path. Importing runs code, so a path is followed
only into packages that the user has allowed: this one, and those that `allow` is
told of. Commands find their names in `plugins=[...]` on the command line, in
`conf/local/default.yaml`, and in entry points of the group "cast_exp.plugins".
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from cast_exp.errors import UserError

GROUP = "cast_exp.plugins"
"""Group of the entry points that installed packages allow themselves with."""
LIGHTNING = tuple(
    f"lightning.pytorch.{kind}"
    for kind in ("callbacks", "loggers", "plugins", "profilers", "strategies")
)
"""What a user may type without further ado, though a saved run may not ask for it."""

_OURS = (
    *("cast_exp", "torch.optim", "lightning.pytorch.Trainer"),
    *(
        "lightning.pytorch.callbacks.LearningRateMonitor",
        "lightning.pytorch.strategies.DDPStrategy",
    ),
)
_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_allowed: set[str] = set()


class NotAllowed(UserError):
    """A part is of a package that nobody has allowed, or is not what its name promises.

    Args:
        path: Its import path.
        reason: What is said of it, as the rest of a sentence.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.reason = reason


def allow(*names: str) -> None:
    """Let parts of more packages be imported, in this process.

    Args:
        names: Packages, modules, or classes by their full paths.
    """
    _allowed.update(names)


@contextmanager
def only(*names: str) -> Iterator[None]:
    """Allow these within the context, and nothing else but what is installed as a plug-in."""
    before = set(_allowed)
    _allowed.clear()
    _allowed.update(names)
    try:
        yield
    finally:
        _allowed.clear()
        _allowed.update(before)


@cache
def installed() -> frozenset[str]:
    """Packages that allow themselves by an entry point of the group `GROUP`."""
    return frozenset(entry.value.partition(":")[0] for entry in entry_points(group=GROUP))


def missing(names: Iterable[str]) -> list[str]:
    """Those of the packages that cannot be found; no code of theirs is run to look."""
    return [name for name in names if not _there(name)]


def resolve(path: str) -> type | Callable[..., Any]:
    """The class or function of an import path, "package.module.Name".

    Nothing is imported before the path is known to lead into an allowed package, and what is found
    must be defined in one: a module that an allowed one has imported leads nowhere.

    Raises:
        NotAllowed: It is not of an allowed package, or neither a class nor a function.
        ImportError: There is no such module, or importing it fails.
        AttributeError: There is nothing of this name in it.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise NotAllowed(str(path), "is no import path, such as my_package.parts.Part")
    if not _is_allowed(path):
        raise NotAllowed(path, f"is not of an allowed package; {_advice(path)}")
    module, _, name = path.rpartition(".")
    found: Any = getattr(import_module(module), name)
    if not inspect.isclass(found) and not inspect.isfunction(found):
        kind = type(found).__name__
        raise NotAllowed(path, f"is a {kind}, neither a class nor a function")
    home = found.__module__
    if not (_is_allowed(home) or _is_allowed(path, exactly=True)):
        advice = _advice(f"{home}.{name}")
        raise NotAllowed(path, f"is defined in {home}, which is not allowed; {advice}")
    return found


def _is_allowed(path: str, exactly: bool = False) -> bool:
    names = {*_OURS, *_allowed, *installed()}
    return path in names or (not exactly and any(path.startswith(f"{name}.") for name in names))


def _advice(path: str) -> str:
    home = path.rpartition(".")[0]
    package = home if home.startswith("lightning.") else home.partition(".")[0]
    if missing([package]):
        near = get_close_matches(package, {*_OURS, *_allowed, *installed()}, n=1)
        hint = f"did you mean {near[0]}?" if near else "install it, or correct the path"
        return f"there is no package {package}; {hint}"
    return (
        f"if you trust it, add plugins=[{package}] (or --plugins {package}) to the command, or to "
        "conf/local/default.yaml"
    )


def _there(name: str) -> bool:
    try:
        return find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False
