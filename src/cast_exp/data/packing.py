"""Packs: images in one tar, with checksums in its headers and an index beside it."""

import json
import logging
import os
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

from PIL import Image
from torch.utils.data import Dataset

from cast_exp.data.datasets.base import UnreadableImage, readable
from cast_exp.data.datasets.images import ValueRange, decode_image, to_rgb
from cast_exp.data.datasets.tars import Member, save_index, tar_header, tar_members
from cast_exp.data.datasets.trees import ImageTree
from cast_exp.data.file_states import file_states
from cast_exp.download.records import only_one
from cast_exp.errors import UserError
from cast_exp.output.files import room_for

log = logging.getLogger(__name__)

CARD = "pack.json"
"""The first file of a pack; it tells what the pack was made from."""

JPEG_QUALITY = 95
"""Of images that are made smaller."""


class EncodedImages(Dataset[bytes | str]):
    """Item ``i`` is the content of the file of image ``i``, or says why it cannot be read.

    Args:
        tree: The images.
        names: Which, and their order.
        short_side: Images whose shorter side has more pixels are resized to it (bicubic) and become
            JPEGs of quality 95 in RGB; others, and those that cannot be decoded, stay as they are.
            None: all stay.
        value_range: See `cast_exp.data.datasets.images.to_rgb`.
    """

    def __init__(
        self,
        tree: ImageTree,
        names: Sequence[str],
        short_side: int | None = None,
        value_range: ValueRange | None = None,
    ) -> None:
        self.tree = tree
        self.names = names
        self.short_side = short_side
        self.value_range = value_range

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> bytes | str:
        path = self.tree.path(self.names[index])
        try:
            with readable(path), self.tree.open(self.names[index]) as file:
                content = file.read()
        except UnreadableImage as error:
            return str(error)
        try:
            return self._shrunk(content, path) if self.short_side else content
        except UserError as error:
            return str(error)

    def _shrunk(self, content: bytes, path: str) -> bytes:
        try:
            with readable(path):
                decoded = decode_image(BytesIO(content))
        except UnreadableImage:
            return content
        assert self.short_side is not None
        scale = self.short_side / min(decoded.size)
        if scale >= 1:
            return content
        image = to_rgb(decoded, self.value_range, path)
        width, height = (round(side * scale) for side in image.size)
        small, encoded = image.resize((width, height), Image.Resampling.BICUBIC), BytesIO()
        small.save(encoded, "JPEG", quality=JPEG_QUALITY)
        return encoded.getvalue()

    @property
    def about(self) -> dict[str, Any]:
        """What tells these contents from others."""
        return {
            "images": len(self),
            "files": file_states(self.tree.files(self.names)),
            "short_side": self.short_side,
            "value_range": self.value_range if self.short_side else None,
        }


def write_pack(
    path: Path,
    names: Sequence[str],
    about: Mapping[str, Any],
    read: Callable[[int], Iterable[bytes | str]],
) -> None:
    """Write a pack, or go on after the last sound image of one that was interrupted.

    It is ``PATH.part`` until all of it has been read back. One that is there already stays if it is
    of the same images.

    Args:
        path: The tar; its index is ``PATH.index``.
        names: The images, in order.
        about: What tells their contents from others, in plain values.
        read: Called with the number of images that are in the pack already, for the contents of the
            others (or why one cannot be read).

    Raises:
        UserError: A pack of other images is there, an image cannot be read, the disk is full or
            does not give back what was written.
    """
    part, card = Path(f"{path}.part"), json.dumps(about).encode()
    files = [CARD, *names]
    with only_one(path), room_for(path, part):
        if path.exists():
            if not _sound(path, [CARD], card):
                raise UserError(
                    f"{path} is of other images or was made with other options; remove it, or give "
                    "another folder"
                )
            log.info("%s is there already", path)
            return
        done = _sound(part, files, card)
        if len(done) > 1:
            log.info("%s: going on after %d images", path, len(done) - 1)
        with open(part, "r+b" if done else "wb") as file:
            file.seek(done[-1].end if done else 0)
            file.truncate()
            contents = chain([] if done else [card], read(max(len(done) - 1, 0)))
            with tarfile.open(fileobj=file, mode="w:") as archive:
                for name, content in zip(files[len(done) :], contents, strict=True):
                    if isinstance(content, str):
                        raise UserError(f"{content}; mend or remove it, then run this again")
                    archive.addfile(tar_header(name, content), BytesIO(content))
                    archive.members.clear()  # type: ignore[attr-defined]
            file.flush()
            os.fsync(file.fileno())
        written = _sound(part, files, card)
        if len(written) < len(files):
            raise UserError(
                f"{files[len(written)]} is not in {part} as it was written; check the disk, then "
                "run this again to go on from there"
            )
        part.replace(path)
        save_index(path, written)


def _sound(path: Path, files: Sequence[str], card: bytes) -> list[Member]:
    """Those of the files, from the first on, that a pack has, if its card is the same."""
    found: list[Member] = []
    if path.is_file():
        with path.open("rb") as headers, path.open("rb") as body, suppress(tarfile.TarError):
            for member, name in zip(tar_members(headers), files, strict=False):
                body.seek(member.offset)
                content = body.read(member.length)
                if (member.name, member.checksum) != (name, crc32(content)):
                    break
                if name == CARD and content != card:
                    break
                found.append(member)
    return found
