"""Standard output of any encoding, and with a reader that may leave."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

_CLOSED = 141  # what a shell shows of a program that SIGPIPE has ended


@contextmanager
def tolerant_output() -> Iterator[None]:
    """Print "?" for what the encoding lacks, and exit without a word when the reader leaves.

    Raises:
        SystemExit: With 141: nobody reads any more.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        sys.exit(_CLOSED)
