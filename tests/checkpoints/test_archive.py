"""Archives that are not what they should be; tests of the command zoo read good ones."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from cast_exp.checkpoints.archive import Archive
from cast_exp.errors import UserError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path / "cache"))


def packed(path: Path, **files: bytes) -> Path:
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_what_is_unpacked_stays_and_another_file_is_not_written_over(tmp_path: Path) -> None:
    file = "moco/one.pth"
    first = Archive(packed(tmp_path / "first.zip", **{f"snapshots/{file}": b"one"}))
    path = first.unpack(file)
    assert path.read_bytes() == b"one"
    inode = path.stat().st_ino
    assert first.unpack(file).stat().st_ino == inode
    other = Archive(packed(tmp_path / "other.zip", **{file: b"two"}))
    with pytest.raises(UserError, match="move it away"):
        other.unpack(file)
    assert path.read_bytes() == b"one"


def test_a_damaged_file_is_told_and_not_left_behind(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", **{"one.pth": b"content"})
    path.write_bytes(path.read_bytes().replace(b"content", b"CONTENT"))
    with pytest.raises(UserError, match=r"one\.pth cannot be unpacked"):
        Archive(path).unpack("one.pth")
    assert not [each for each in (tmp_path / "cache").rglob("*") if each.is_file()]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as a zip archive"),
        ("readme.txt", "holds no checkpoint"),
        ("../out.pth", "lead out of it"),
        ("/out.pth", "lead out of it"),
    ],
)
def test_mistakes(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"no archive") if content is None else packed(path, **{content: b""})
    with pytest.raises(UserError, match=message):
        Archive(path)
