"""Images in tar archives, read in place: only an index of them is made, once."""

import logging
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cast_exp.data.datasets.trees import IMAGE_SUFFIXES, ListedTree
from cast_exp.data.file_states import file_states
from cast_exp.data.stored import load_tensors, save_tensors
from cast_exp.download.records import cache_dir, only_one
from cast_exp.errors import UserError

log = logging.getLogger(__name__)

_BLOCK = tarfile.BLOCKSIZE
_CHECKSUM = "crc32:"
_UNKNOWN = -1


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: Its path, "/" between folders.
        offset: Where it begins in the archive, in bytes.
        length: In bytes.
        checksum: CRC-32 of its content; -1 if the archive does not tell.
    """

    name: str
    offset: int
    length: int
    checksum: int = _UNKNOWN

    @property
    def end(self) -> int:
        """Where the next file begins in the archive, in bytes."""
        return self.offset + -(-self.length // _BLOCK) * _BLOCK


def tar_header(name: str, content: bytes) -> tarfile.TarInfo:
    """What stands before a file in an archive, with its checksum in the place of the owner."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    header.uname = f"{_CHECKSUM}{crc32(content):08x}"
    return header


def tar_members(file: BinaryIO) -> Iterator[Member]:
    """The files in an uncompressed tar archive, in order; a tar in it counts as a folder.

    Raises:
        TarError: It is damaged or cut short; what comes before that is there.
        OSError: It cannot be read.
    """
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while header := archive.next():
            archive.members.clear()  # type: ignore[attr-defined]  # a million, for all of ImageNet
            name, start = header.name.removeprefix("./"), header.offset_data
            if header.issym() or header.islnk():
                raise tarfile.TarError(f"{name} is a link")
            if not header.isreg():
                continue
            if name.endswith(".tar"):
                inner: Any = archive.extractfile(header)
                for found in tar_members(inner):
                    within = f"{name.removesuffix('.tar')}/{found.name}"
                    yield found._replace(name=within, offset=start + found.offset)
            elif header.uname.startswith(_CHECKSUM):
                checksum = int(header.uname.removeprefix(_CHECKSUM), 16)
                yield Member(name, start, header.size, checksum)
            else:
                yield Member(name, start, header.size)
        file.seek(archive.offset)
        if file.read(_BLOCK) != bytes(_BLOCK):
            raise tarfile.TarError("there is no end mark")


class Tar(ListedTree):
    """Images in an uncompressed tar archive, which stands for a folder.

    Tars in it stand for folders, too, and a folder of the archive's own name at its top is passed
    over. Where the images are is read from `index_file`, or from the archive itself, once for as
    long as its name, size and modification time stay. Each process maps the archive into its
    memory when it opens the first image.

    Args:
        place: The archive.

    Raises:
        UserError: It cannot be read, is damaged or cut short, or has links.
    """

    def __init__(self, place: Path) -> None:
        found = _index(place)
        super().__init__(place, names_of(found["names"]))
        self._members = found["members"].numpy()
        self._content: mmap | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_content": None}

    def open(self, name: str) -> BinaryIO:
        """See `ImageTree`."""
        at = np.searchsorted(self.names, np.array(os.fsencode(name), self.names.dtype))
        start, length, checksum = self._members[at].tolist()
        if self._content is None:
            with self.place.open("rb") as file:
                self._content = mmap(file.fileno(), 0, access=ACCESS_READ)
        content = self._content[start : start + length]
        if checksum not in (_UNKNOWN, crc32(content)):
            raise ValueError("damaged since it was packed (its checksum differs); pack it again")
        return BytesIO(content)

    def path(self, name: str) -> str:
        """See `ImageTree`."""
        return f"{self.place}/{name}"

    def files(self, names: Iterable[str]) -> Iterator[str]:
        """See `ImageTree`."""
        yield str(self.place)

    @property
    def has_checksums(self) -> bool:
        """Whether damage is noticed."""
        return _UNKNOWN not in self._members[:, 2]


def index_file(tar: Path) -> Path:
    """The file that an archive's index is in if it travels with the archive."""
    return Path(f"{tar}.index")


def save_index(tar: Path, members: Iterable[Member]) -> None:
    """Write the index beside an archive.

    Raises:
        UserError: The disk is full.
    """
    save_tensors(index_file(tar), _columns(tar, members), _fingerprint(tar))


def _index(tar: Path) -> dict[str, Tensor]:
    beside = index_file(tar)
    if beside.is_file() and (found := load_tensors(beside, _fingerprint(tar))):
        return found
    return kept_index([tar], lambda: _columns(tar, members(tar)))


def kept_index(
    tars: Sequence[Path], read: Callable[[], dict[str, Tensor]], about: str = ""
) -> dict[str, Tensor]:
    """What is read from archives, once for as long as their names, sizes and times stay.

    Args:
        tars: The archives.
        read: Reads them.
        about: What else decides on what is read.

    Raises:
        UserError: The disk is full, and what `read` raises.
    """
    paths = "\0".join([*(str(tar.resolve()) for tar in tars), about])
    kept = cache_dir() / "tars" / sha256(os.fsencode(paths)).hexdigest()[:16]
    with only_one(kept):
        state = file_states(map(str, tars))
        if (found := load_tensors(kept, state)) is None:
            more = f" and {len(tars) - 1} more" if len(tars) > 1 else ""
            log.info("making an index of %s%s, once", tars[0], more)
            found = read()
            save_tensors(kept, found, state)
    return found


def _fingerprint(tar: Path) -> str:
    """What a copy has, too, but no other pack: its first header has the checksum of its card."""
    with tar.open("rb") as file:
        return f"{tar.stat().st_size} {crc32(file.read(_BLOCK)):08x}"


def members(tar: Path) -> Iterator[Member]:
    """The files in an archive, in order; see `tar_members`.

    Raises:
        UserError: It cannot be read, is damaged or cut short, or has links.
    """
    last = "its beginning"
    try:
        with tar.open("rb") as file:
            for member in tar_members(file):
                yield member
                last = member.name
    except (OSError, ValueError, tarfile.TarError) as error:
        raise UserError(
            f"{tar} is cut short or damaged at {last} or after it ({error}); it should be an "
            "uncompressed tar without links: copy, download or pack it again"
        ) from error


def _columns(tar: Path, members: Iterable[Member]) -> dict[str, Tensor]:
    """Names, uint8 (N, longest) padded with zeros, and what else is known of each, int64 (N, 3)."""
    images = {name: member for member in members if (name := _image_name(member.name))}
    own = os.fsencode(tar.stem) + b"/"
    if all(name.startswith(own) for name in images):
        images = {name.removeprefix(own): member for name, member in images.items()}
    names: NDArray[Any] = np.array(sorted(images), np.bytes_)
    rows = np.array([images[name][1:] for name in names.tolist()], np.int64).reshape(-1, 3)
    return {
        "names": names_tensor(names),
        "members": torch.from_numpy(rows),
    }


def names_tensor(names: NDArray[Any]) -> Tensor:
    """Names (N,) of bytes as uint8 (N, longest), padded with zeros."""
    return torch.from_numpy(names.view(np.uint8).reshape(len(names), names.itemsize))


def names_of(tensor: Tensor) -> NDArray[np.bytes_]:
    """What `names_tensor` was given."""
    return tensor.numpy().view(f"S{tensor.size(1)}")[:, 0]


def _image_name(name: str) -> bytes:
    """The name as bytes, empty if it is not that of an image."""
    hidden = "/." in f"/{name}"
    encoded = os.fsencode(name)
    return encoded if encoded.lower().endswith(IMAGE_SUFFIXES) and not hidden else b""
