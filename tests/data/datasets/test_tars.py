"""Images in tars that GNU or BSD tar has written."""

import os
import pickle
import tarfile
from pathlib import Path
from zlib import crc32

import pytest
from support.imagenet import tar

from cast_exp.data.datasets import ImageFolder
from cast_exp.data.datasets.tars import Member, Tar, index_file, save_index, tar_members
from cast_exp.data.file_states import file_states
from cast_exp.errors import UserError

LONG = "x" * 150 + ".jpg"
CONTENTS = {
    "a/1.jpg": b"one" * 400,
    "a/deep/2.PNG": b"",
    "b/é.jpg": b"another" * 100,
    f"b/{LONG}": b"x" * 512,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path / "cache"))
    others = {"a/note.txt": b"no image", ".hidden/1.jpg": b"", "b/._1.jpg": b""}
    for name, content in (CONTENTS | others).items():
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_bytes(content)
    return tmp_path / "train"


def contents(tree: Tar) -> dict[str, bytes]:
    names = [os.fsdecode(name) for name in tree.images()]
    return {name: tree.open(name).read() for name in names}


@pytest.mark.parametrize("names", [["a", ".hidden", "b"], ["."], ["../train"]])
def test_names_and_contents(names: list[str], folder: Path) -> None:
    path = folder.parent / "train.tar"
    tar(
        path,
        folder if names[0] != "../train" else folder.parent,
        [Path(n).name or n for n in names],
    )
    tree = Tar(path)
    assert contents(tree) == CONTENTS
    assert contents(pickle.loads(pickle.dumps(tree))) == CONTENTS
    assert tree.folders() == {"a", "b"}
    assert tree.images("b").tolist() == [LONG.encode(), "é.jpg".encode()]
    assert tree.path("a/1.jpg") == f"{path}/a/1.jpg"
    assert list(tree.files(["a/1.jpg"])) == [str(path)]
    assert not tree.has_checksums


def test_tars_within_are_folders(folder: Path) -> None:
    for name in ("a", "b"):
        tar(folder.parent / f"parts/{name}.tar", folder / name, sorted(os.listdir(folder / name)))
    path = folder.parent / "all.tar"
    tar(path, folder.parent / "parts", ["b.tar", "a.tar"])
    assert contents(Tar(path)) == CONTENTS


def test_headers_are_read_again_only_if_the_archive_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder.parent / "train.tar"
    tar(path, folder, ["a"])
    first, state = contents(Tar(path)), file_states([str(path)])
    with monkeypatch.context() as patch:
        patch.delattr(tarfile, "open")
        assert contents(Tar(path)) == first
    tar(path, folder, ["b"])
    assert contents(Tar(path)) == {k: v for k, v in CONTENTS.items() if k.startswith("b")}
    assert file_states(Tar(path).files([])) != state


def test_an_index_travels_with_its_archive(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.tar"
    tar(path, folder, ["a"])
    with path.open("rb") as file:
        members = list(tar_members(file))
    checked = [
        m._replace(checksum=crc32(CONTENTS[m.name])) for m in members if ".txt" not in m.name
    ]
    save_index(path, checked)
    tree = Tar(path)
    assert tree.has_checksums
    assert not (tmp_path / "cache").exists()
    content = bytearray(path.read_bytes())
    content[content.index(CONTENTS["a/1.jpg"])] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged since it was packed"):
        contents(Tar(path))
    tar(path, folder, ["b", "a"])
    assert contents(Tar(path)) == CONTENTS, "an index of another archive is not used"
    assert index_file(path).is_file()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("within", [False, True])
def test_a_cut_archive_is_told(within: bool, nested: bool, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.tar"
    tar(path, folder, ["a/1.jpg", "b/é.jpg"])
    if nested:
        path.rename(tmp_path / "inner.tar")
        tar(path, tmp_path, ["inner.tar"])
    with path.open("rb") as file:
        last = list(tar_members(file))[-1]
    os.truncate(path, last.offset + 100 if within else last.end)
    with pytest.raises(UserError, match=r"cut.tar is cut short or damaged at .*again$") as told:
        Tar(path)
    assert ("b/é.jpg" in str(told.value)) != nested


def test_damaged_headers_links_and_compressed_archives_are_told(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "train.tar"
    tar(path, folder, ["a/1.jpg", "b/é.jpg"])
    content = bytearray(path.read_bytes())
    content[Member("", 512, len(CONTENTS["a/1.jpg"])).end] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"at a/1.jpg or after it \(there is no end mark"):
        Tar(path)
    (folder / "a/3.jpg").symlink_to("1.jpg")
    tar(path, folder, ["a"])
    with pytest.raises(UserError, match=r"a/3.jpg is a link\); .* without links"):
        Tar(path)
    tar(tmp_path / "train.tar.gz", folder, ["b"])
    (tmp_path / "train.tar.gz").rename(path)
    with pytest.raises(UserError, match=r"at its beginning or after .*uncompressed"):
        Tar(path)


def test_an_archive_without_images(folder: Path, tmp_path: Path) -> None:
    tar(tmp_path / "none.tar", folder, ["a/note.txt"])
    assert Tar(tmp_path / "none.tar").images().tolist() == []
    with pytest.raises(UserError, match=r"no images in .*/none.tar"):
        ImageFolder("train", tmp_path, "none.tar", None)
