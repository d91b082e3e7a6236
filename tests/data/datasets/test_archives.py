"""An archive is fetched, checked and unpacked once, whole or not at all."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from support.file_server import FileServer, file_server

from cast_exp.data.datasets.archives import Archive
from cast_exp.errors import UserError


def packed() -> bytes:
    """An archive of a folder with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("things/one.txt")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"one"))
    return buffer.getvalue()


def served(server: FileServer, content: bytes) -> Archive:
    server.files["/things.tar.gz"] = content
    return Archive(f"{server.url}/things.tar.gz", hashlib.md5(content).hexdigest(), "things")


def test_it_is_fetched_once(tmp_path: Path) -> None:
    with file_server() as server:
        archive = served(server, packed())
        for _ in range(2):
            folder = archive.folder(tmp_path, fetch=True)
            assert (folder / "one.txt").read_text() == "one"
        assert len(server.ranges) == 1
    assert archive.folder(tmp_path, fetch=False) == folder


def test_nothing_is_fetched_unless_asked_for(tmp_path: Path) -> None:
    archive = Archive("http://nowhere.invalid/things.tar", "0" * 32, "things")
    with pytest.raises(UserError, match=r"no things in .*download=true"):
        archive.folder(tmp_path, fetch=False)
    with pytest.raises(UserError, match=r"data\.root is not set; .* holds things"):
        archive.folder(None, fetch=True)


def test_bad_archives_leave_no_folder(tmp_path: Path) -> None:
    with file_server() as server:
        cut = served(server, packed()[:-20])
        with pytest.raises(UserError, match="cannot be unpacked"):
            cut.folder(tmp_path / "cut", fetch=True)
        other = Archive(cut.url, "0" * 32, "things")
        with pytest.raises(UserError, match="not the published archive"):
            other.folder(tmp_path / "other", fetch=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and "things" in path.name]
