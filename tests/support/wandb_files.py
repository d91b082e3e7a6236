"""Reads back what W&B has written offline: records in a log of LevelDB's format."""

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import wandb

_BLOCK, _HEADER = 32768, 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Any]:
    """The records of a `.wandb` file, in order."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, parts = path.read_bytes(), _HEADER, b""
    assert content[:4] == b":W&B"
    while at + _HEADER <= len(content):
        if _BLOCK - at % _BLOCK < _HEADER:  # padding
            at += _BLOCK - at % _BLOCK
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + _HEADER])
        parts += content[at + _HEADER : at + _HEADER + size]
        at += _HEADER + size
        if kind in (_FULL, _LAST):
            yield Record.FromString(parts)
            parts = b""


class OfflineRun:
    """What the offline folders of a run hold, one after the other."""

    def __init__(self, run: Path) -> None:
        wandb.teardown()  # which waits until all is written
        self.folders = sorted((run / "wandb").glob("offline-run-*"))
        self.records = [
            record for folder in self.folders for record in records(next(folder.glob("*.wandb")))
        ]

    @property
    def history(self) -> list[dict[str, Any]]:
        """Rows of what was logged."""
        return [_dict(r.history.item) for r in self.records if r.HasField("history")]

    @property
    def config(self) -> dict[str, Any]:
        """The config in the end."""
        return _dict(item for r in self._all("config") for item in r.update)

    @property
    def summary(self) -> dict[str, Any]:
        """The summary in the end."""
        return _dict(item for r in self._all("summary") for item in r.update)

    @property
    def run(self) -> Any:
        """The last description of the run."""
        return self._all("run")[-1]

    @property
    def artifacts(self) -> list[Any]:
        """What was logged of files."""
        return self._all("artifact")

    def _all(self, kind: str) -> list[Any]:
        return [getattr(record, kind) for record in self.records if record.HasField(kind)]


def _dict(items: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        node = found
        *path, last = item.nested_key or [item.key]
        for name in path:
            node = node.setdefault(name, {})
        node[last] = json.loads(item.value_json)
    return found
