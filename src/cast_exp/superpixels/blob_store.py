"""Values on disk by keys, for processes on several machines that add to them at once.

Each process appends to two files of its own: values one after another, and an entry of 32 bytes for
each of them. Nothing is locked and nothing rewritten, so the folder may be on a network file
system, and a process that is killed loses at most the value that it was writing.
"""

import logging
import os
from collections.abc import Iterator
from errno import ENOSPC
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

import numpy as np

log = logging.getLogger(__name__)

KEY_BYTES = 16

_ENTRY = np.dtype(
    [("head", "<u8"), ("tail", "<u8"), ("offset", "<u8"), ("size", "<u4"), ("crc", "<u4")]
)


class BlobStore:
    """A mapping from keys to bytes that only grows.

    A process sees what was there when it looked for the first time, and what it adds itself. Copies
    of a store in other processes, forked or spawned, open it anew. Where nothing can be written, as
    on a full disk, that is told once and nothing more is added.

    Args:
        folder: Where it is; made with the first value.
        about: Text for people, in its `about.txt`.
    """

    def __init__(self, folder: Path, about: str) -> None:
        self.folder = folder
        self.about = about
        self._opened: _Opened | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without files that are open in this process."""
        return {**vars(self), "_opened": None}

    def get(self, key: bytes) -> bytes | None:
        """The value of a key of `KEY_BYTES` bytes; None if there is none, or it is damaged."""
        return self._here().get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Add a value of less than 4 GiB."""
        self._here().put(key, value)

    def _here(self) -> "_Opened":
        if self._opened is None or self._opened.process != os.getpid():
            self._opened = _Opened(self.folder, self.about)
        return self._opened


class _Place(NamedTuple):
    values: Path
    offset: int
    size: int
    crc: int


class _Opened:
    """A store as one process sees it."""

    def __init__(self, folder: Path, about: str) -> None:
        self.process = os.getpid()
        self.folder = folder
        self.about = about
        self.values: list[Path] = []
        shares = [(np.empty(0, _ENTRY), np.empty(0, np.int64))]
        for listed in sorted(folder.glob("*.entries")):
            try:
                whole = listed.read_bytes()
            except OSError:  # another user's, in a folder that several share
                continue
            share = np.frombuffer(whole, _ENTRY, len(whole) // _ENTRY.itemsize)
            shares.append((share, np.full(len(share), len(self.values))))
            self.values.append(listed.with_suffix(".values"))
        entries, owners = (np.concatenate(part) for part in zip(*shares, strict=True))
        order = entries["head"].argsort(kind="stable")
        self.entries, self.owners = entries[order], owners[order]
        self.own: dict[bytes, _Place] = {}
        self.readers: dict[Path, BinaryIO] = {}
        self.writers: tuple[BinaryIO, BinaryIO] | None = None
        self.read_only = False

    def get(self, key: bytes) -> bytes | None:
        for place in self._places(key):
            if (value := self._read(place)) is not None:
                return value
        return None

    def _places(self, key: bytes) -> Iterator[_Place]:
        """Where the value of a key is: several, if processes added it at the same time."""
        if key in self.own:
            yield self.own[key]
        head, tail = np.frombuffer(key, "<u8")
        at = int(self.entries["head"].searchsorted(head))
        while at < len(self.entries) and self.entries["head"][at] == head:
            if self.entries["tail"][at] == tail:
                _, _, offset, size, crc = self.entries[at].tolist()
                yield _Place(self.values[self.owners[at]], offset, size, crc)
            at += 1

    def _read(self, place: _Place) -> bytes | None:
        try:
            if place.values not in self.readers:
                self.readers[place.values] = place.values.open("rb", buffering=0)
            reader = self.readers[place.values]
            if place.offset + place.size > os.fstat(reader.fileno()).st_size:
                return None  # a damaged entry may say any number, too large to seek or to hold
            reader.seek(place.offset)
            value = reader.read(place.size)
        except OSError:
            return None
        return value if len(value) == place.size and crc32(value) == place.crc else None

    def put(self, key: bytes, value: bytes) -> None:
        if self.read_only:
            return
        try:
            if self.writers is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                about = self.folder / "about.txt"
                if not about.exists():  # it may be another user's
                    about.write_text(self.about, encoding="utf-8")
                name = token_hex(8)
                values, entries = (self.folder / f"{name}.{kind}" for kind in ("values", "entries"))
                self.writers = values.open("xb", buffering=0), entries.open("xb", buffering=0)
            into, listed = self.writers
            place = _Place(Path(into.name), into.tell(), len(value), crc32(value))
            head, tail = np.frombuffer(key, "<u8")
            entry = np.array([(head, tail, *place[1:])], _ENTRY).tobytes()
            for file, written in ((into, value), (listed, entry)):
                if file.write(written) != len(written):
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
            self.own[key] = place
        except OSError as error:
            self.read_only = True
            log.warning("%s: nothing more is kept there (%s)", self.folder, error.strerror)
