"""Fetches archives from plain URLs: goes on where it was cut, and takes only what was published."""

import logging
import re
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from cast_exp.download.records import digest_of, only_one, record, require_room
from cast_exp.errors import UserError
from cast_exp.output.files import atomic_write, room_for, write_text

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_TRIES = 5
_SILENCE = 30  # seconds that a server may say nothing
_LARGEST = 16 << 30  # bytes of a file whose server does not tell its length
_BUSY = (408, 429)
_GZIP, _TAR = b"\x1f\x8b", b"ustar"


def download(url: str, path: Path, md5: str) -> Path:
    """Fetch a tar archive, compressed or not, once.

    A download that was cut goes on where it stopped (if the server's file is still the same, by its
    ETag). It is at `<path>.part` until all of it is there and its MD5 is the published one. The MD5
    is computed once, also of a file that was put there by hand, and again only when the file's size
    or modification time has changed. Only one of several processes downloads.

    Args:
        url: Where it is.
        path: Where it goes.
        md5: Its published MD5, in hexadecimal digits.

    Raises:
        UserError: No connection, no such file, not enough space, or another file than published.
    """
    if not path.is_file():
        with only_one(path):
            if not path.is_file():
                _complete(url, path, md5)
    if wrong := _wrong(path, md5):
        raise UserError(
            f"{path} is not the published archive: {wrong}; delete it to fetch it again"
        )
    record(path, url=url, md5=md5)
    return path


def _complete(url: str, path: Path, md5: str) -> None:
    """Download to `<path>.part`, and from there to `path` if it is the right file."""
    part = Path(f"{path}.part")
    _fetch(url, part)
    if wrong := _wrong(part, md5):
        part.unlink()
        raise UserError(
            f"{url} is not the published archive: {wrong}; try again later, or put the archive at "
            f"{path}"
        )
    with atomic_write(path) as new:
        part.replace(new)
    record(path, url=url, md5=md5)


def _wrong(path: Path, md5: str) -> str | None:
    """Why a file is not the archive with this MD5; None if it is."""
    if (found := digest_of(path, "md5")) == md5:
        return None
    with open(path, "rb") as file:
        start = file.read(512)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        return "the server answered with a web page"
    if not start.startswith(_GZIP) and start[257:262] != _TAR:
        return "it does not begin as a tar archive does"
    return f"its MD5 is {found}, not {md5}"


def _fetch(url: str, part: Path) -> None:
    """Download to a file, which stays when the connection is cut."""
    host = urlsplit(url).netloc
    reason = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(2 ** (attempt - 2))
        try:
            if _append(url, part):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {error.reason}"
            if error.code == 416:  # more was there than the server has
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in _BUSY:
                raise UserError(f"{host} refused {url} ({reason}); is the address right?") from None
        except urllib.error.URLError as error:
            raise UserError(
                f"cannot reach {host} ({error.reason}); connect to the internet, or put the file "
                f"of {url} at {part.with_suffix('')}"
            ) from None
        except (HTTPException, ConnectionError, TimeoutError, SSLError) as error:
            reason = str(error) or type(error).__name__
        log.debug("the download of %s failed: %s", url, reason)
    size = part.stat().st_size if part.is_file() else 0
    raise UserError(
        f"the download of {url} failed {_TRIES} times, at last after {size:,} bytes ({reason}); "
        "the same command goes on from there, if the server can"
    )


def _append(url: str, part: Path) -> bool:
    """Fetch what `part` lacks; whether it is complete then."""
    tag = Path(f"{part}.etag")
    known = tag.read_text(encoding="utf-8") if part.is_file() and tag.is_file() else ""
    start = part.stat().st_size if known else 0
    headers = {"User-Agent": "cast_exp"}
    if start:  # the rest if the file is still the same, or else all of the new one
        headers |= {"Range": f"bytes={start}-", "If-Range": known}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=_SILENCE) as response:
        etag = response.headers.get("ETag", "")
        if response.status == 200:
            start, total = 0, response.length
            part.unlink(missing_ok=True)
            tag.unlink(missing_ok=True)
            if etag and not etag.startswith("W/"):  # a weak one may be of other bytes, too
                write_text(tag, etag)
        else:
            sent = response.headers.get("Content-Range", "")
            span = re.fullmatch(rf"bytes {start}-(\d+)/(\d+)", sent)
            if not span or response.length != int(span[1]) + 1 - start or etag not in ("", known):
                part.unlink(missing_ok=True)
                raise HTTPException(f"{start:,} bytes were there, but {sent or 'no range'} came")
            total = int(span[2])
        limit = _LARGEST if total is None else total
        if total is not None:
            require_room(url, part.parent, total - start)
        console = Console(stderr=True)
        columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
        progress = Progress(*columns, console=console, disable=not console.is_terminal)
        with room_for(part), open(part, "ab" if start else "wb") as file, progress as bar:
            task = bar.add_task(part.stem, total=total, completed=start)
            while chunk := response.read(_CHUNK):
                bar.advance(task, file.write(chunk))
                if file.tell() > limit:
                    file.truncate(0)
                    raise UserError(f"{url} does not end: it has sent more than {limit:,} bytes")
    size = part.stat().st_size
    if not size:
        raise HTTPException("nothing came")
    complete = total in (None, size)
    if complete:
        tag.unlink(missing_ok=True)
    return complete
