"""Modules that one test imports and the next is to find unread."""

import sys


def forget(package: str) -> None:
    """Have a package imported anew where it is next asked for."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
