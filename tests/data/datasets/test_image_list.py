"""The forms that lists of images have, on empty files."""

from pathlib import Path

import pytest

from cast_exp.data.datasets.image_list import Files, Listed, by_name, read_list
from cast_exp.errors import UserError

IMAGES = ["a.jpg", "b c.png", "deep/a.jpg", "photo 1.jpg", "photo.jpg", "x.jpg"]
MASKS = ["a.png", "b c.png", "deep/a.png", "photo 1.png", "photo.png", "other map.png", "1.png"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder, names in (
        ("images", IMAGES),
        ("masks", MASKS),
        ("elsewhere", ["a.bmp", "m 2.tif"]),
    ):
        for name in names:
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).touch()
    return tmp_path


def read(root: Path, text: str | bytes) -> list[Listed]:
    (root / "list.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    files = Files(root, "images", [".jpg", ".png"]), Files(root, "masks", [".PNG"])
    return read_list(root / "list.txt", *files)


@pytest.mark.parametrize(
    ("line", "image", "mask"),
    [
        ("a", "images/a.jpg", "masks/a.png"),
        ("a.jpg", "images/a.jpg", "masks/a.png"),
        ("deep/a", "images/deep/a.jpg", "masks/deep/a.png"),
        ("images/deep/a.jpg", "images/deep/a.jpg", "masks/deep/a.png"),
        (r"images\deep\a.jpg", "images/deep/a.jpg", "masks/deep/a.png"),
        ("a other map", "images/a.jpg", "masks/other map.png"),
        ("images/a.jpg masks/other map.png", "images/a.jpg", "masks/other map.png"),
        ("/images/a.jpg /masks/deep/a.png", "images/a.jpg", "masks/deep/a.png"),
        ("ROOT/images/a.jpg\tROOT/elsewhere/m 2.tif", "images/a.jpg", "elsewhere/m 2.tif"),
        ("b c", "images/b c.png", "masks/b c.png"),
        ("b c.png  \t b c.png", "images/b c.png", "masks/b c.png"),
        ("images/b c.png masks/other map.png", "images/b c.png", "masks/other map.png"),
        ("a 1 -1", "images/a.jpg", "masks/a.png"),
        ("a  1", "images/a.jpg", "masks/a.png"),
        ("photo 1.jpg", "images/photo 1.jpg", "masks/photo 1.png"),
        ("elsewhere/a.bmp masks/a.png", "elsewhere/a.bmp", "masks/a.png"),
        ("x", "images/x.jpg", None),
        ("images/a.jpg masks/none.png", "images/a.jpg", None),
        ("none", None, None),
        (f"{'long' * 200}/a.jpg", None, None),
        ("none.jpg a.png", None, None),
    ],
)
def test_lines(root: Path, line: str, image: str | None, mask: str | None) -> None:
    (found,) = read(root, line.replace("ROOT", str(root)))
    assert found.image == (image and root / image)
    assert found.mask == (mask and root / mask)


def test_a_relative_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    (found,) = read(Path(root.name), "/images/a.jpg masks/other map.png")
    assert (found.image, found.mask) == (
        Path(root.name, "images/a.jpg"),
        Path(root.name, "masks/other map.png"),
    )


@pytest.mark.parametrize("text", ["\ufeffa\r\n\r\n  x \r\n", "\n a\t\n\n\nx", "\ufeff\na\rx\r"])
def test_ends_of_lines(root: Path, text: str) -> None:
    assert [each.written for each in read(root, text)] == ["a", "x"]


def test_several_readings(root: Path) -> None:
    with pytest.raises(
        UserError, match=r"list\.txt: 'photo 1' can be read in several ways; write all"
    ):
        read(root, "photo 1")
    for sure in ("photo 1.jpg\tphoto 1.png", "photo\t1", "photo.jpg\tphoto 1"):
        (found,) = read(root, sure)
        assert found.image
        assert found.mask


def test_lists_that_are_none(root: Path) -> None:
    for text in ("", "\n \r\n"):
        with pytest.raises(UserError, match=r"list\.txt is empty"):
            read(root, text)
    with pytest.raises(UserError, match=r"list\.txt is not UTF-8"):
        read(root, "äa\n".encode("utf-16"))
    with pytest.raises(UserError, match=r"no list .*other\.txt \(there is: list\)"):
        read_list(root / "other.txt", Files(root, "images", []), Files(root, "masks", []))


def test_names(root: Path) -> None:
    files = Files(root, "images", [".jpg"])
    (root / "images/._a.jpg").touch()
    assert files.names("") == ["a", "deep/a", "photo", "photo 1", "x"]
    assert files.names("deep") == ["deep/a"]
    cases = Files(root, "masks", ["_map.png", ".png"])
    assert by_name("a", files, cases) == Listed("a", root / "images/a.jpg", root / "masks/a.png")
    (root / "masks/x_map.png").touch()
    labels = Files(root, "masks", ["_map.png"])
    assert by_name("x", files, labels).mask == root / "masks/x_map.png"
    assert by_name("a", files, labels).mask is None
    (root / "x.png").touch()
    assert files.find("x.png") == root / "x.png"
    assert by_name("photo", files, Files(root, "elsewhere", [".png"])).mask is None
    assert by_name("x", files, Files(root, "elsewhere", [".png"])).mask is None, "not the root's"
