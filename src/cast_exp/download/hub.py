"""Fetches files from Hugging Face through huggingface_hub, and checks them by its metadata."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import responses
from pathlib import Path
from typing import Any

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

from cast_exp.download.records import (
    cache_dir,
    digest_of,
    only_one,
    record,
    recorded,
    require_room,
)
from cast_exp.errors import UserError
from cast_exp.output.files import atomic_write, room_for

_SHA256 = re.compile("[0-9a-f]{64}")  # of large files; small ones have a digest of git's


def hub_url(model: str, file: str) -> str:
    """Where a file of a model is on Hugging Face, or on its mirror $HF_ENDPOINT."""
    return hf_hub_url(model, file, endpoint=_mirror())


def download_from_hub(model: str, file: str, path: Path) -> Path:
    """Fetch a file of a model on Hugging Face once, and pin it.

    Its size and SHA-256 must be those of the hub's metadata, and those recorded when it was first
    fetched, or first found where somebody had put it. The SHA-256 is computed once, and again only
    when the file's size or modification time has changed. Only one of several processes downloads.

    Args:
        model: Its name, as in "me/mine".
        file: Path in it.
        path: Where it goes.

    Raises:
        UserError: It cannot be fetched, or it is another file than the recorded.
    """
    url = hub_url(model, file)
    if not path.is_file():
        with only_one(path):
            if not path.is_file():
                _fetch(model, file, path)
    known, found = recorded(path), _size_and_digest(path)
    _require_same(path, found, known, f"delete it to fetch it again from {url}")
    record(path, **{"url": url} | known | found)
    return path


def verify_cached(file: Path) -> None:
    """Check a file in the cache of huggingface_hub, once, by the SHA-256 that it is kept under.

    Small files, such as cards, and those of a cache without links (on Windows) are kept otherwise,
    and pass.

    Raises:
        UserError: It is damaged.
    """
    kept = Path(os.readlink(file)).name if file.is_symlink() else ""
    if not _SHA256.fullmatch(kept):
        return
    note = cache_dir() / "hub" / kept
    if digest_of(file, beside=note) != kept:
        raise UserError(f"{file} is damaged; delete {file.resolve()} to fetch it again")
    record(file, beside=note, sha256=kept)


@contextmanager
def told_in_a_line(what: str, advice: str) -> Iterator[None]:
    """Tell in one line why huggingface_hub could not fetch something.

    Raises:
        UserError: Whatever it has raised.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of which kind depends on its version and on how it fetches
        causes = [*_chain(error)]
        answers = (getattr(cause, "response", None) for cause in causes)
        if (response := next((each for each in answers if each is not None), None)) is not None:
            reason = (
                f"the server says {response.status_code} {responses.get(response.status_code, '')}"
            )
        else:
            reason = (str(causes[-1]).strip() or type(causes[-1]).__name__).splitlines()[0]
        raise UserError(f"{what} cannot be fetched: {reason}; {advice}") from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came of, one after the other."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _fetch(model: str, file: str, path: Path) -> None:
    """Download to the folder `<path>.hub`, and from there to `path` if it is the right file."""
    url, part, known = hub_url(model, file), Path(f"{path}.hub"), recorded(path)
    accept = f"delete {path}.json to take the file that is there now"
    with told_in_a_line(url, f"check the connection, or put the file at {path}"), room_for(path):
        about = get_hf_file_metadata(url)
        if (revision := about.commit_hash) is None:
            raise ValueError("the server is not one of Hugging Face (a login page?)")
        told: dict[str, Any] = {"size": about.size} if about.size is not None else {}
        if about.etag and _SHA256.fullmatch(about.etag):
            told["sha256"] = about.etag
        _require_same(url, told, known, accept)
        require_room(url, path.parent, about.size or 0)
        got = hf_hub_download(model, file, revision=revision, local_dir=part, endpoint=_mirror())
    try:
        found = _size_and_digest(Path(got))
        _require_same(f"what came from {url}", found, told, "try again")
        _require_same(url, found, known, accept)
        with atomic_write(path) as new:
            Path(got).replace(new)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    record(path, url=url, revision=revision, **found)


def _size_and_digest(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": digest_of(path)}


def _require_same(
    what: object, found: Mapping[str, Any], known: Mapping[str, Any], advice: str
) -> None:
    for key in ("size", "sha256"):
        if key in found and found[key] != known.get(key, found[key]):
            raise UserError(
                f"{what} is not the file it should be: its {key} is {found[key]}, not "
                f"{known[key]}; {advice}"
            )


def _mirror() -> str | None:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
