"""The one exception that reaches a user as a message instead of a stack trace."""

from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend: a path, a key, a value, a file.

    The message says what is wrong and what to do about it. Entry points print it and exit with
    status 2; no stack trace is shown.
    """


def listing(names: Iterable[object], most: int = 20) -> str:
    """Names that a file gave, for a message of one line: printable, none too long, not too many."""
    shown = [
        "".join(letter if letter.isprintable() else "?" for letter in str(name)[:160])
        for name in names
    ]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
