"""Files of tensors that know what they were computed from, and whether they are still whole."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cast_exp.distributed import rank
from cast_exp.output.files import atomic_write

log = logging.getLogger(__name__)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], key: str) -> None:
    """Write a safetensors file of tensors and the key of what they were made from, atomically.

    Raises:
        UserError: The disk is full.
    """
    checksums = {name: _checksum(tensor) for name, tensor in tensors.items()}
    # As one entry: safetensors does not keep the order of several.
    about = json.dumps({"key": key, "checksums": checksums})
    with atomic_write(path) as new:
        save_file(dict(tensors), new, {"about": about})


def load_tensors(
    path: Path, key: str, names: Sequence[str] = (), verify: bool = True
) -> dict[str, Tensor] | None:
    """Read tensors from a file, if it is there, whole, and they were made from the same.

    Args:
        path: The file; if it cannot be used, the first process says so.
        key: What they should have been made from.
        names: Which; all if empty.
        verify: Whether to compare checksums.
    """
    found = _read(path, key, names, verify) if path.exists() else None
    if isinstance(found, str):
        _tell([f"{path} {found}"])
        return None
    return found


def load_parts(folder: Path, key: str) -> Iterator[tuple[Path, dict[str, Tensor]]]:
    """Read all files of a folder, one at a time; the first process removes those of no use."""
    useless = []
    for path in sorted(folder.glob("*.safetensors")):
        if isinstance(found := _read(path, key), str):
            useless.append(f"{path} {found}")
            if rank() == 0:
                path.unlink()
        else:
            yield path, found
    _tell(useless)


def _read(
    path: Path, key: str, names: Sequence[str] = (), verify: bool = True
) -> dict[str, Tensor] | str:
    """The tensors, or why there are none."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            if about.get("key") != key:
                return "is of another backbone or other data"
            found = {name: file.get_tensor(name) for name in names or file.keys()}
        checksums = about["checksums"]
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError, TypeError) as error:
        return f"cannot be read ({error})"
    looked_at = found if verify else ()
    damaged = [name for name in looked_at if checksums.get(name) != _checksum(found[name])]
    return f"is damaged (checksum of {damaged[0]})" if damaged else found


def _tell(useless: list[str]) -> None:
    if useless and rank() == 0:
        more = f" (and {len(useless) - 1} more files)" if len(useless) > 1 else ""
        log.warning("%s%s; computed anew", useless[0], more)


def _checksum(tensor: Tensor) -> int:
    content: Any = tensor.contiguous().view(-1).view(torch.uint8).numpy()
    return crc32(content, crc32(f"{tensor.dtype} {[*tensor.shape]}".encode()))
