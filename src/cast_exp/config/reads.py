"""Which keys of a config a program reads, and which of those a user has typed it does not."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cast_exp.config.messages import key_of

_REFERENCE = re.compile(r"\$\{(?:oc\.select:\s*)?([A-Za-z_][\w.@]*)\s*[,}]")
_PACKAGES = {"strategy": "trainer", "precision": "trainer"}  # groups whose files say so
_EVERYWHERE = ("experiment", "sweep", "debug", "hydra", "local", "paths", "compat")


def read_keys(config: DictConfig, roots: Iterable[str]) -> set[str]:
    """The dotted keys that are read, each with all below it.

    Args:
        config: Composed config, interpolations not resolved.
        roots: Keys that the program reads; what they refer to is added.
    """
    plain: Any = OmegaConf.to_container(config)
    found: set[str] = set()
    ahead = list(roots)
    while ahead:
        key = ahead.pop()
        if key in found:
            continue
        found.add(key)
        node, rest = plain, key.split(".")
        while rest and isinstance(node, Mapping) and rest[0] in node:
            node = node[rest.pop(0)]
        if rest and isinstance(node, str):  # what is below a reference
            ahead += [".".join([name, *rest]) for name in _references(node)]
        elif not rest:
            ahead += _references(node)
    return found


def unread(read: Collection[str], typed: Sequence[str]) -> list[str]:
    """Of the overrides that a user has typed, those that set nothing that is read.

    Args:
        read: See `read_keys`.
        typed: The overrides.
    """
    return [text for text in typed if not _touches(key_of(text), read)]


def _touches(key: str, read: Collection[str]) -> bool:
    group, _, package = key.partition("@")
    key = package or _PACKAGES.get(group, key)
    if key.partition(".")[0].partition("/")[0] in _EVERYWHERE:
        return True
    return any(f"{key}.".startswith(f"{r}.") or f"{r}.".startswith(f"{key}.") for r in read)


def _references(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        return [name for value in node.values() for name in _references(value)]
    if isinstance(node, list):
        return [name for value in node for name in _references(value)]
    return _REFERENCE.findall(node) if isinstance(node, str) else []
