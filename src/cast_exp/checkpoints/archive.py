"""Archives of the official release: the files in them, and the figure that belongs to each."""

import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

from cast_exp.checkpoints.official import (
    FINETUNED,
    convert_official,
    is_official,
    official_head,
)
from cast_exp.checkpoints.published import PUBLISHED, SNAPSHOTS, Figure, zoo_dir
from cast_exp.errors import UserError, listing
from cast_exp.models.registry import SIZES
from cast_exp.output.files import atomic_write

_SUFFIXES = (".pth", ".pth.tar", ".pt")
_STATES = ".state.pth"  # of the optimizer of a fine-tuning on VOC
_CHUNK = 1 << 20


class Archive:
    """Checkpoints in a zip archive, or in a folder.

    Args:
        path: The archive or the folder.

    Attributes:
        files: Paths of the checkpoints in it, below its folder `snapshots` if it has one.

    Raises:
        UserError: It is neither, is damaged, or holds no checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found: Mapping[str, ZipInfo | None]
        if path.is_dir():
            found = {each.relative_to(path).as_posix(): None for each in sorted(path.rglob("*"))}
        elif path.is_file():
            found = _entries(path)
        else:
            raise UserError(f"no archive at {path}; give a zip file or a folder of checkpoints")
        self._entries = {
            _below_snapshots(name): (name, entry)
            for name, entry in found.items()
            if name.endswith(_SUFFIXES) and not name.endswith(_STATES)
        }
        self.files = list(self._entries)
        if not self.files:
            raise UserError(f"{path} holds no checkpoint ({', '.join(_SUFFIXES)})")

    def unpack(self, file: str) -> Path:
        """Path of one of its files, which is unpacked to where downloaded weights are.

        Raises:
            UserError: It is damaged, or another file is there.
        """
        name, entry = self._entries[file]
        if entry is None:
            return self.path / name
        path = zoo_dir() / file
        if path.is_file():
            if path.stat().st_size != entry.file_size or _checksum(path) != entry.CRC:
                raise UserError(
                    f"{path} is not the {file} of {self.path}; move it away to unpack that one"
                )
            return path
        try:
            with (
                ZipFile(self.path) as archive,
                archive.open(entry) as source,
                atomic_write(path) as new,
                open(new, "wb") as target,
            ):
                shutil.copyfileobj(source, target, _CHUNK)
        except (BadZipFile, EOFError, RuntimeError, NotImplementedError, zlib.error) as error:
            raise UserError(f"{file} cannot be unpacked of {self.path} ({error})") from error
        return path


def figure_of(file: str, checkpoint: Mapping[str, Any]) -> Figure | None:
    """The figure that belongs to a file of the release.

    Args:
        file: Its path, by which the files that the README links are known.
        checkpoint: What it holds; its layout, shapes and epoch tell of all others.

    Returns:
        None if the README reports none of it.

    Raises:
        UserError: It is damaged.
    """
    for published in PUBLISHED.values():
        if PurePosixPath(file).match(published.file):
            return published.figure
    if not is_official(checkpoint) or "n_cls" in checkpoint:  # a Segmenter's figures are of itself
        return None
    backbone = convert_official(checkpoint)
    shape = (backbone.family, backbone.dim, backbone.depths)
    sizes = {(size.family, size.dim, size.depths): name for name, size in SIZES.items()}
    model, epoch = sizes.get(shape), checkpoint.get("epoch")
    if FINETUNED in checkpoint:
        name = f"{model}_coco_moco_400"
    elif "weight" not in (head := official_head(checkpoint)):
        data = "coco" if backbone.fusion else "in1k"
        name = f"{model}_coco_moco_{epoch}" if data == "coco" else f"{model}_in1k_moco"
        if data == "in1k" and epoch != 100:
            return None  # such as of ImageNet-100, which takes 200
        return PUBLISHED[name].figure if name in PUBLISHED else None
    elif len(head["weight"]) == 1000:
        name = f"{model}_in1k_{'moco' if 'state_dict' in checkpoint else 'deit'}"
    else:
        return None
    return PUBLISHED[name].figure.of_trained() if name in PUBLISHED else None


def _entries(path: Path) -> dict[str, ZipInfo]:
    try:
        with ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
    except (OSError, BadZipFile) as error:
        raise UserError(f"{path} cannot be read as a zip archive ({error})") from error
    if strange := [name for name in entries if ".." in name.split("/") or name.startswith("/")]:
        raise UserError(
            f"{path} has files that lead out of it: {listing(strange)}; do not trust it"
        )
    return entries


def _below_snapshots(name: str) -> str:
    parts = PurePosixPath(name).parts
    return "/".join(parts[parts.index(SNAPSHOTS) + 1 :] if SNAPSHOTS in parts else parts)


def _checksum(path: Path) -> int:
    value = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return value
