"""Wording shared by all that report mistakes in a config."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

_WRAPPED = re.compile(r"^\w+ raised while resolving interpolation: ")
_ENDLESS = "Recursive interpolation detected"


def gist(error: BaseException) -> str:
    """What an exception of Hydra, OmegaConf or YAML says, without what they wrap around it."""
    if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark):
        return f"{mark.name}, line {mark.line + 1}: no YAML ({error.problem})"
    text = str(error) or str(error.__cause__ or type(error).__name__)
    text = _WRAPPED.sub("", text.strip().splitlines()[0])
    if text == _ENDLESS and isinstance(error, OmegaConfBaseException):
        return f"{error.full_key}: refers to itself"
    return text


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint: the names most like the one given, or else all there are."""
    names = list(names)
    close = get_close_matches(name, names, n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"options are {', '.join(names)}" if names else "there are none"


def key_of(override: str) -> str:
    """The key, or the group, that an override of a command line is of."""
    return override.partition("=")[0].lstrip("+~")


def listed(mistakes: Iterable[str]) -> str:
    """One message of all mistakes in a command."""
    lines = list(mistakes)
    if len(lines) == 1:
        return f"mistake in the command or config:\n  {lines[0]}"
    return "\n  ".join([f"{len(lines)} mistakes in the command or config:", *lines])
