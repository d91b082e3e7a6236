"""What a user has said may be imported and read: on this command line or in conf/local."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

from cast_exp.config import conf_dir, key_of, values_of
from cast_exp.errors import UserError
from cast_exp.plugins import allow, installed, missing

LOCAL = Path("local", "default.yaml")
"""The user's own settings, inside the config tree."""

# What the library webdataset runs in a shell.
_COMMAND = re.compile(r"\s*pipe:", re.IGNORECASE)
_VARIABLE = re.compile(r"oc\.env:\s*([A-Za-z_]\w*)")


def users_plugins(typed: Sequence[str], tree: Path) -> set[str]:
    """Packages that the user allows: those of `plugins=[...]`, or else those of conf/local.

    Args:
        typed: Overrides of this command line.
        tree: Folder of the config files.

    Raises:
        UserError: There is no such package.
    """
    names = _local_plugins(tree)
    for text in typed:
        if key_of(text) == "plugins":
            try:
                names = values_of(text)
            except HydraException:  # told when the command is composed
                return set()
    if absent := missing(names):
        raise UserError(
            f"plugins=[{','.join(names)}]: there is no package {' or '.join(absent)}; install it, "
            "or name the folder that it is in with PYTHONPATH"
        )
    return set(names)


def allow_parts(config_dir: Path | None, plugins: str | None) -> None:
    """Follow these options: what they name may be imported in this process.

    Raises:
        UserError: There is no such folder or package.
    """
    check_config_dir(config_dir)
    typed = [] if plugins is None else [f"plugins=[{plugins}]"]
    allow(*users_plugins(typed, conf_dir()))


def check_config_dir(folder: Path | None) -> None:
    """See that a folder of a user's config files is there.

    Raises:
        UserError: It is not.
    """
    if folder and not folder.is_dir():
        raise UserError(f"--config-dir {folder} is not a folder")


def wrong_plugins(config: DictConfig, trusted: set[str]) -> list[str]:
    """What is wrong with the plug-ins of a composed config.

    Args:
        config: Composed config.
        trusted: See `users_plugins`.
    """
    named = config.get("plugins")
    if not OmegaConf.is_list(named):
        return [f"plugins={named}: should be a list, as in plugins=[{named}]"]
    strange = sorted({*named} - trusted - installed())
    return [
        f"plugins=[{name}]: a config file says so; what may be imported is said on the command "
        "line or in conf/local/default.yaml"
        for name in strange
    ]


def typed_paths(typed: Sequence[str], packages: Sequence[str]) -> list[str]:
    """Import paths into some packages that overrides name."""
    ahead = "|".join(re.escape(package) for package in packages)
    return [path for text in typed for path in re.findall(rf"\b(?:{ahead})\.\w+", text)]


def typed_variables(typed: Sequence[str], tree: Path) -> set[str]:
    """Environment variables that overrides or the files of the config tree refer to.

    Args:
        typed: Overrides of this command line.
        tree: Folder of the config files, conf/local among them.
    """
    return {name for text in _said(typed, tree) for name in _VARIABLE.findall(text)}


def strange_commands(config: DictConfig, typed: Sequence[str], tree: Path) -> list[str]:
    """A line for each command for a shell that a config holds and the user has not named.

    Args:
        config: Composed config.
        typed: Overrides of this command line.
        tree: Folder of the config files, conf/local among them.
    """
    found = list(_commands(OmegaConf.to_container(config, resolve=True), ""))
    said = _said(typed, tree) if found else []
    return [
        f"{key}={command}: the folder of a run says so, and what a shell runs is not taken from "
        "there; if you want it, type it again"
        for key, command in found
        if not any(command in text for text in said)
    ]


def _said(typed: Sequence[str], tree: Path) -> list[str]:
    """All that the user has said, here and in files."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in tree.rglob("*.yaml")]
    return [*texts, *typed]


def _commands(node: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict | list):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _commands(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, str) and _COMMAND.match(node):
        yield key, node


def _local_plugins(tree: Path) -> list[str]:
    path = tree / LOCAL
    found: Any = {}
    try:
        found = OmegaConf.load(path) if path.is_file() else {}
    except Exception as error:  # of a file that is no YAML
        raise UserError(f"{path} cannot be read: {error}".splitlines()[0]) from error
    named = found.get("plugins") if isinstance(found, Mapping | DictConfig) else None
    if not isinstance(named, Sequence | ListConfig | None) or isinstance(named, str):
        raise UserError(f"{path}: plugins={named} should be a list, as in plugins: [{named}]")
    return [str(name) for name in named or ()]
