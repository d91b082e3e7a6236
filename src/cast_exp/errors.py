"""The one exception that reaches a user as a message instead of a stack trace."""


class UserError(Exception):
    """Something the user can mend: a path, a key, a value, a file.

    The message says what is wrong and what to do about it. Entry points print it and exit with
    status 2; no stack trace is shown.
    """
