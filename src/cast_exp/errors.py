"""The one exception that reaches a user as a message instead of a stack trace."""

from collections.abc import Iterable

_LONGEST = 160  # characters of a name in a message


class UserError(Exception):
    """Something the user can mend: a path, a key, a value, a file.

    The message says what is wrong and what to do about it. Entry points print it and exit with
    status 2; no stack trace is shown.
    """


def listing(names: Iterable[object], most: int = 20) -> str:
    """Names that a file gave, for a message of one line: printable, none too long, not too many."""
    shown = [
        "".join(letter if letter.isprintable() else "?" for letter in _shortened(str(name)))
        for name in names
    ]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def _shortened(text: str) -> str:
    """A text that is not too long, cut between words where it has words."""
    if len(text) <= _LONGEST:
        return text
    head = text[:_LONGEST]
    words = head.rpartition(" ")[0]
    return f"{words if len(words) > _LONGEST // 2 else head}..."
