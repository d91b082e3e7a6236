"""Wording shared by all that report mistakes in a config."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

_PLUGINS = {
    "hydra/launcher/joblib": "hydra-joblib-launcher",
    "hydra/launcher/ray": "hydra-ray-launcher",
    "hydra/launcher/ray_aws": "hydra-ray-launcher",
    "hydra/launcher/rq": "hydra-rq-launcher",
    "hydra/launcher/submitit_local": "hydra-submitit-launcher",
    "hydra/launcher/submitit_slurm": "hydra-submitit-launcher",
    "hydra/sweeper/ax": "hydra-ax-sweeper",
    "hydra/sweeper/nevergrad": "hydra-nevergrad-sweeper",
    "hydra/sweeper/optuna": "hydra-optuna-sweeper",
    "hydra/hydra_logging/colorlog": "hydra-colorlog",
    "hydra/job_logging/colorlog": "hydra-colorlog",
}
"""Packages of the options that Hydra's own plug-ins add."""
_QUOTED = re.compile(r"'([^']+)'")
_WRAPPED = re.compile(r"^\w+ raised while resolving interpolation: ")
_ENDLESS = "Recursive interpolation detected"


def gist(error: BaseException) -> str:
    """What an exception of Hydra, OmegaConf or YAML says, without what they wrap around it."""
    if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark):
        return f"{mark.name}, line {mark.line + 1}: no YAML ({error.problem})"
    text = str(error) or str(error.__cause__ or type(error).__name__)
    line = _WRAPPED.sub("", text.strip().splitlines()[0])
    if line == _ENDLESS and isinstance(error, OmegaConfBaseException):
        return f"{error.full_key}: refers to itself"
    hints = filter(None, map(plugin_hint, _QUOTED.findall(line)))
    return "; ".join([line, *hints])


def plugin_hint(option: str) -> str | None:
    """How to get an option of Hydra, `hydra/<group>/<option>`, if a plug-in of Hydra's has it."""
    package = _PLUGINS.get(option)
    return f"it is of a plug-in of Hydra: pip install {package}" if package else None


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
