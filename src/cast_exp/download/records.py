"""What is known of downloaded files, each in a small file `<path>.json` beside it."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from cast_exp.errors import UserError
from cast_exp.output.files import write_json


def cache_dir() -> Path:
    """Folder of downloaded files: $CAST_EXP_CACHE, or ~/.cache/cast_exp."""
    return Path(os.environ.get("CAST_EXP_CACHE") or Path.home() / ".cache" / "cast_exp")


def recorded(path: Path) -> dict[str, Any]:
    """What is recorded of a file: `url`, `size` in bytes, `mtime_ns`, `sha256` and the like."""
    with suppress(OSError, ValueError):
        known = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        if isinstance(known, dict):
            return known
    return {}


def record(path: Path, beside: Path | None = None, **known: str | None) -> None:
    """Record a file's size and modification time, and what else is known of it.

    Nothing is recorded where nothing can be written, as in a shared cache.

    Args:
        path: The file.
        beside: What the record is beside; the file if not given.
        known: Its digests among others.
    """
    known_now = known | _state(path)
    if recorded(beside or path) != known_now:
        with suppress(OSError):
            write_json(Path(f"{beside or path}.json"), known_now)


def digest_of(
    path: Path, algorithm: Literal["sha256", "md5"] = "sha256", beside: Path | None = None
) -> str:
    """Digest of a file, in hexadecimal digits.

    It is the recorded one as long as size and modification time are; otherwise the file is read.
    """
    known = recorded(beside or path)
    if algorithm in known and known.items() >= _state(path).items():
        return str(known[algorithm])
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Make the folder of a file, and let one process at a time fetch it.

    Raises:
        UserError: Its folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            yield
    except OSError as error:
        raise UserError(f"cannot write to {path.parent} ({error.strerror or error})") from None


def require_room(url: str, folder: Path, needed: int) -> None:
    """Tell that a file is too large before it is fetched.

    Raises:
        UserError: A folder has not as many bytes left.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(f"{url} needs {needed:,} bytes, but {folder} has only {free:,} left")


def _state(path: Path) -> dict[str, int]:
    found = path.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}
