"""What tells files from those that were in their place before, without reading them."""

import os
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from cast_exp.errors import UserError

_READERS = 16  # folders at a time, to hide the latency of network file systems


def file_states(paths: Iterable[str]) -> str:
    """Hash of the names, sizes and modification times of files; contents are not read.

    Each folder is read once. What is no file, such as the name of a generated image, counts by its
    name.

    Args:
        paths: The files; another order gives another hash.

    Raises:
        UserError: A folder cannot be read.
    """
    found = sha256()
    wanted: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        found.update(os.fsencode(path) + b"\0")
        folder, name = os.path.split(path)
        wanted[folder].add(name)
    with ThreadPoolExecutor(_READERS) as pool:
        for states in pool.map(_states, wanted, wanted.values()):
            found.update(states)
    return found.hexdigest()


def _states(folder: str, names: set[str]) -> bytes:
    """Name, size and time of those files of a folder that are there, in the order of the names."""
    states = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in names and entry.is_file():  # not a link to nowhere
                    state = entry.stat()
                    states.append(f"{entry.name}/{state.st_size}/{state.st_mtime_ns}")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}; check its rights") from error
    return os.fsencode("\0".join(sorted(states)))
