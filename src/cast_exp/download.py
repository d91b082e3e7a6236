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
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from cast_exp.errors import UserError
from cast_exp.ops.files import write_json, write_text

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_TRIES = 5
_SILENCE = 30  # seconds that a server may say nothing


def cache_dir() -> Path:
    """Folder of downloaded files: $CAST_EXP_CACHE, or ~/.cache/cast_exp."""
    return Path(os.environ.get("CAST_EXP_CACHE") or Path.home() / ".cache" / "cast_exp")


def download(url: str, path: Path) -> Path:
    """Fetch a file once; afterwards only check that it is still the same.

    A download that was cut goes on where it stopped (if the server's file is still the same, by its
    ETag). Size and SHA-256 are written to `<path>.json` when the file is first there, also when it
    was put there by hand, and hold from then on. Only one of several processes downloads.

    Args:
        url: Where it is.
        path: Where it goes.

    Raises:
        UserError: No connection, no such file, not enough space, or another file than the recorded.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.is_file():
                _verify(path, path, url)
            else:
                part = _fetch(url, path)
                _verify(part, path, url)
                part.replace(path)
    except PermissionError as error:
        raise UserError(f"cannot write to {path.parent} ({error.strerror})") from None
    return path


def recorded(path: Path) -> dict[str, str | int] | None:
    """`url`, `size` in bytes and `sha256` of a downloaded file; None if there is no record."""
    record = Path(f"{path}.json")
    if not record.is_file():
        return None
    known: dict[str, str | int] = json.loads(record.read_text(encoding="utf-8"))
    return known


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(found: Path, path: Path, url: str) -> None:
    """Hold a file that is, or is to be, at `path` to what is known; record it if nothing is."""
    actual: dict[str, str | int] = {"size": found.stat().st_size, "sha256": sha256_of(found)}
    known = recorded(path)
    if known is None:
        write_json(Path(f"{path}.json"), {"url": url, **actual})
        return
    for key, value in actual.items():
        if value != known[key]:
            if found != path:
                found.unlink()
            raise UserError(
                f"{path.name} from {url} is not the file it should be: its {key} is {value}, not "
                f"{known[key]}; delete {path} to download it again, and {path.name}.json too if "
                "the file at the source is known to have changed"
            )


def _fetch(url: str, path: Path) -> Path:
    """Download to `<path>.part`, which stays when the connection is cut, and return that."""
    part = Path(f"{path}.part")
    host = urlsplit(url).netloc
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(2 ** (attempt - 2))
        try:
            if _append(url, part):
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


def _append(url: str, part: Path) -> bool:
    """Fetch what `part` lacks; whether it is complete then."""
    tag = Path(f"{part}.etag")
    start = part.stat().st_size if part.is_file() and tag.is_file() else 0
    headers = {"User-Agent": "cast_exp"}
    if start:  # the rest if the file is still the same, or else all of the new one
        headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text(encoding="utf-8")}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=_SILENCE) as response:
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
        console = Console(stderr=True)
        columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
        progress = Progress(*columns, console=console, disable=not console.is_terminal)
        with open(part, "ab" if start else "wb") as file, progress as bar:
            task = bar.add_task(part.stem, total=total, completed=start)
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.advance(task, len(chunk))
    complete = total is None or part.stat().st_size == total
    if complete:
        tag.unlink(missing_ok=True)
    return complete
