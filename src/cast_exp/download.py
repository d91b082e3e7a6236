"""Downloads large files: goes on where it was cut, records what came and holds it to that later."""

import hashlib
import json
import logging
import os
import shutil
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from cast_exp.errors import UserError
from cast_exp.ops.files import write_json, write_text

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_TRIES = 5


def cache_dir() -> Path:
    """Folder of downloaded files: $CAST_EXP_CACHE, or ~/.cache/cast_exp."""
    return Path(os.environ.get("CAST_EXP_CACHE") or Path.home() / ".cache" / "cast_exp")


def download(url: str, path: Path, *, sha256: str | None = None, timeout: float = 30) -> Path:
    """Fetch a file once; afterwards only check that it is still the same.

    A download that was cut goes on where it stopped (if the server's file is still the same, by its
    ETag). Size and SHA-256 are written to `<path>.json` when the file is first there, also when it
    was put there by hand, and hold from then on. Only one of several processes downloads.

    Args:
        url: Where it is.
        path: Where it goes.
        sha256: What its SHA-256 must be, where that is known beforehand.
        timeout: How long the server may be silent, in seconds.

    Raises:
        UserError: No connection, no such file, not enough space, or another file than the recorded.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(_beside(path, ".lock")):
            if not path.is_file():
                part = _fetch(url, path, timeout)
                _verify(part, path, url, sha256)
                part.replace(path)
            else:
                _verify(path, path, url, sha256)
    except PermissionError as error:
        raise UserError(f"cannot write to {path.parent} ({error.strerror})") from None
    return path


def recorded(path: Path) -> dict[str, str | int] | None:
    """`url`, `size` in bytes and `sha256` of a downloaded file; None if there is no record."""
    record = _beside(path, ".json")
    if not record.is_file():
        return None
    known: dict[str, str | int] = json.loads(record.read_text(encoding="utf-8"))
    return known


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _verify(found: Path, path: Path, url: str, sha256: str | None) -> None:
    """Hold a file that is, or is to be, at `path` to what is known; record it if nothing is."""
    actual: dict[str, str | int] = {"size": found.stat().st_size, "sha256": sha256_of(found)}
    known = recorded(path) or ({} if sha256 is None else {"sha256": sha256})
    wrong = [key for key in actual if key in known and known[key] != actual[key]]
    if wrong:
        key = wrong[0]
        if found != path:
            found.unlink()
        raise UserError(
            f"{path.name} from {url} is not the file it should be: its {key} is {actual[key]}, not "
            f"{known[key]}; delete {path} to download it again, and {path.name}.json too if the "
            "file at the source is known to have changed"
        )
    if recorded(path) is None:
        write_json(_beside(path, ".json"), {"url": url, **actual})


def _fetch(url: str, path: Path, timeout: float) -> Path:
    """Download to `<path>.part`, which stays when the connection is cut, and return that."""
    part = _beside(path, ".part")
    host = urlsplit(url).netloc
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(2 ** (attempt - 2))
        try:
            if _append(url, part, timeout):
                _beside(part, ".etag").unlink(missing_ok=True)
                return part
        except urllib.error.HTTPError as error:
            if error.code == 416:  # more was there than the server has
                part.unlink(missing_ok=True)
            elif error.code < 500:
                raise UserError(
                    f"{host} refused {url} ({error.code} {error.reason}); is the address right?"
                ) from None
        except urllib.error.URLError as error:
            raise UserError(
                f"cannot reach {host} ({error.reason}); connect to the internet, or put the file "
                f"of {url} at {path}"
            ) from None
        except (HTTPException, ConnectionError, TimeoutError) as error:
            log.debug("the download of %s was cut: %s", url, error)
    size = part.stat().st_size if part.is_file() else 0
    raise UserError(
        f"the download of {url} failed {_TRIES} times, at last after {size:,} bytes; the same "
        "command goes on from there"
    )


def _append(url: str, part: Path, timeout: float) -> bool:
    """Fetch what `part` lacks; whether it is complete then."""
    tag = _beside(part, ".etag")
    start = part.stat().st_size if part.is_file() and tag.is_file() else 0
    headers = {"User-Agent": "cast_exp"}
    if start:  # the rest if the file is still the same, or else all of the new one
        headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text(encoding="utf-8")}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        if response.status != 206:
            start = 0
            tag.unlink(missing_ok=True)
            if etag := response.headers.get("ETag"):
                write_text(tag, etag)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        free = shutil.disk_usage(part.parent).free
        if total and total - start > free:
            raise UserError(
                f"{url} needs {total - start:,} bytes, but {part.parent} has only {free:,} left"
            )
        with open(part, "ab" if start else "wb") as file, _progress_bar() as bar:
            task = bar.add_task(part.stem, total=total, completed=start)
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.advance(task, len(chunk))
    return total is None or part.stat().st_size == total


def _progress_bar() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    return Progress(
        *columns, TransferSpeedColumn(), console=console, disable=not console.is_terminal
    )
