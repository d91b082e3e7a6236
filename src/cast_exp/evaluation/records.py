"""What is known of each image, on disk as soon as it is known."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from cast_exp.distributed import rank
from cast_exp.output.files import room_for, write_text

log = logging.getLogger(__name__)

Place = tuple[int, int]
"""Number of a split among those that are evaluated, and of an image in it."""

Record = dict[str, Any]
"""What is known of an image, in plain values: "index", its number; "split", if there are several;
and the rest."""

Records = dict[Place, Record]

_CHECKSUM = ', "checksum": '


class RecordFile:
    """Records of the images done so far, a line of JSON for each, written at once.

    Each process adds to a file of its own, `images.jsonl` or `images-<rank>.jsonl`; all of them are
    read when an evaluation begins, however many processes wrote them, and only the first is left
    when it ends. The first line says what the records depend on; each of the others has a
    "checksum", so that a damaged one is found and its image is measured again.

    Args:
        folder: Where the files are.
        key: What they depend on; files of something else are not used.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.folder = folder
        self.key = json.dumps(key)
        self.path = folder / (f"images-{rank()}.jsonl" if rank() else "images.jsonl")
        self.own: Records = {}
        """Records in the file of this process."""
        self.known: Records = {}
        """Those of all processes when the evaluation began, and what this one has added."""
        self.begun = False
        for path in sorted(folder.glob("images*.jsonl")):
            found = self._read(path)
            self.known |= found
            if path == self.path:
                self.own = found
        if self.known and rank() == 0:
            log.info("going on after %d images from %s", len(self.known), folder)

    def add(self, record: Record) -> None:
        """Keep what is known of an image."""
        if not self.begun:  # what was cut off, or is of something else, goes
            self.write(self.own)
            self.begun = True
        with room_for(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(_with_checksum(json.dumps(record)) + "\n")
        self.own[place(record)] = self.known[place(record)] = record

    def write(self, records: Records) -> None:
        """Put a file with these records, in the order of the images, in the place of this one."""
        lines = [self.key, *(_with_checksum(json.dumps(records[each])) for each in sorted(records))]
        write_text(self.path, "".join(f"{line}\n" for line in lines))

    def join(self, others: Sequence[Records]) -> Records:
        """The records of all processes; the first one writes them into one file."""
        joined = {each: record for known in others for each, record in known.items()}
        if rank() == 0:
            self.write(joined)
            for path in self.folder.glob("images-*.jsonl"):
                path.unlink()
        return joined

    def _read(self, path: Path) -> Records:
        *lines, _ = path.read_text(encoding="utf-8", errors="replace").split("\n")  # it is cut off
        if lines[:1] != [self.key]:
            if rank() == 0:
                log.warning("%s is of another backbone or other data; measured anew", path)
            return {}
        texts = [line.rpartition(_CHECKSUM)[0] + "}" for line in lines[1:]]
        whole = [t for t, line in zip(texts, lines[1:], strict=True) if _with_checksum(t) == line]
        if len(whole) < len(texts) and rank() == 0:
            log.warning("%s: %d damaged records, measured anew", path, len(texts) - len(whole))
        return {place(record): record for record in map(json.loads, whole)}


def _with_checksum(text: str) -> str:
    return f"{text[:-1]}{_CHECKSUM}{crc32(text.encode())}}}"


def place(record: Record) -> Place:
    """Where an image belongs."""
    return record.get("split", 0), record["index"]


def sparse(values: Tensor) -> list[Any]:
    """Where a tensor is not 0, in the order of its values, and what it is there: plain values."""
    places = values.flatten().nonzero().flatten()
    return [places.tolist(), values.flatten()[places].tolist()]


def dense(plain: Sequence[Any], like: Tensor) -> Tensor:
    """The tensor again that `sparse` had, of the shape and type of another one."""
    places, values = plain
    found = torch.zeros_like(like)
    found.view(-1)[places] = torch.tensor(values, dtype=like.dtype)
    return found
