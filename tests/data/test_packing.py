"""Packs are written whole, go on where they stopped, and notice damage."""

import errno
import os
import signal
import tarfile
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.tiny_data import noise

from cast_exp.data.datasets.tars import Tar, index_file
from cast_exp.data.datasets.trees import Folder
from cast_exp.data.packing import CARD, EncodedImages, write_pack
from cast_exp.errors import UserError


@pytest.fixture
def images(tmp_path: Path) -> EncodedImages:
    for number in range(6):
        noise(tmp_path / f"in/a/{number}.jpg", (60 + number, 40), seed=number)
    return EncodedImages(Folder(tmp_path / "in"), [f"a/{number}.jpg" for number in range(6)])


def pack(path: Path, images: EncodedImages) -> list[int]:
    """Write a pack; the images that were read for it."""
    asked: list[int] = []

    def read(start: int) -> Iterable[bytes | str]:
        for number in range(start, len(images)):
            asked.append(number)
            yield images[number]

    write_pack(path, images.names, images.about, read)
    return asked


def test_a_pack_is_a_tar_of_the_files(images: EncodedImages, tmp_path: Path) -> None:
    assert pack(tmp_path / "out/train.tar", images) == list(range(6))
    assert sorted(os.listdir(tmp_path / "out")) == [
        "train.tar",
        "train.tar.index",
        "train.tar.lock",
    ]
    with tarfile.open(tmp_path / "out/train.tar") as archive:
        assert archive.getnames() == [CARD, *images.names]
        archive.extractall(tmp_path / "back", filter="data")
    for name in images.names:
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
    tree = Tar(tmp_path / "out/train.tar")
    assert tree.has_checksums
    index_file(tree.place).unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAST_EXP_CACHE", str(tmp_path / "cache"))
        assert Tar(tree.place).has_checksums, "they are in the archive as well"


def cut(content: bytearray, _: bytes) -> None:
    del content[-600:]


def flip(content: bytearray, image: bytes) -> None:
    content[content.index(image) + 9] ^= 1


def grow(content: bytearray, _: bytes) -> None:
    content.extend(b"x" * 50_000)


def nothing(content: bytearray, _: bytes) -> None:
    pass


@pytest.mark.parametrize(("damage", "sound"), [(nothing, 4), (grow, 4), (cut, 3), (flip, 2)])
def test_an_interrupted_pack_goes_on_after_its_last_sound_image(
    damage: Callable[..., None], sound: int, images: EncodedImages, tmp_path: Path
) -> None:
    path, part = tmp_path / "train.tar", tmp_path / "train.tar.part"
    pack(tmp_path / "straight.tar", images)

    def stops(start: int) -> Iterator[bytes | str]:
        yield from (images[number] for number in range(start, 4))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pack(path, images.names, images.about, stops)
    assert not path.exists()
    content = bytearray(part.read_bytes())
    damage(content, images[2])
    part.write_bytes(content)
    asked = pack(path, images)
    assert asked == list(range(sound, 6))
    assert path.read_bytes() == (tmp_path / "straight.tar").read_bytes()
    assert pack(path, images) == [], "it is there already"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("image", [0, 3, 5])
def test_a_killed_process_leaves_what_can_be_gone_on_with(
    image: int, images: EncodedImages, tmp_path: Path
) -> None:
    path = tmp_path / "train.tar"
    pack(tmp_path / "straight.tar", images)

    def dies(start: int) -> Iterator[bytes | str]:
        yield from (images[number] for number in range(start, image))
        os.kill(os.getpid(), signal.SIGKILL)

    if not (process := os.fork()):
        write_pack(path, images.names, images.about, dies)
    _, status = os.waitpid(process, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert not path.exists()
    pack(path, images)
    assert path.read_bytes() == (tmp_path / "straight.tar").read_bytes()


def test_a_pack_of_other_images_is_not_gone_on_with(images: EncodedImages, tmp_path: Path) -> None:
    path, part = tmp_path / "train.tar", tmp_path / "train.tar.part"
    pack(path, images)
    os.utime(tmp_path / "in/a/3.jpg", ns=(0, 10**18))
    with pytest.raises(UserError, match=r"train.tar is of other images .*remove it, or"):
        pack(path, images)
    path.rename(part)
    assert pack(path, images) == list(range(6))
    path.rename(part)
    assert pack(path, EncodedImages(images.tree, images.names, short_side=20)) == list(range(6))


def test_what_goes_wrong_is_one_line(
    images: EncodedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "train.tar"
    (tmp_path / "in/a/5.jpg").unlink()
    with pytest.raises(UserError, match=r"5.jpg: no such file or directory; .* run this again"):
        pack(path, images)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    noise(tmp_path / "in/a/5.jpg")
    monkeypatch.setattr("cast_exp.data.packing.os.fsync", lambda _: lose(path, images))
    with pytest.raises(UserError, match=r"a/2.jpg is not in .*check the disk"):
        pack(path, images)
    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(UserError, match=r"train.tar cannot be written: no space left on device"):
        pack(path, images)


def lose(path: Path, images: EncodedImages) -> None:
    """Let a failing disk turn a bit of the third image."""
    part = Path(f"{path}.part")
    content = bytearray(part.read_bytes())
    flip(content, images[2])
    part.write_bytes(content)


def test_images_are_made_smaller(tmp_path: Path) -> None:
    noise(tmp_path / "wide.jpg", (80, 60), seed=1)
    noise(tmp_path / "small.png", (30, 90), seed=2)
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    deep = np.linspace(0, 40_000, 64 * 64, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    names = ["wide.jpg", "small.png", "bad.jpg", "deep.png"]
    images = EncodedImages(Folder(tmp_path), names, 30, (0, 40_000))
    wide, small, bad, grey = (images[number] for number in range(4))
    with Image.open(tmp_path / "wide.jpg") as reference, Image.open(BytesIO(wide)) as found:
        assert (found.size, found.format, found.mode) == ((40, 30), "JPEG", "RGB")
        expected = reference.resize((40, 30), Image.Resampling.BICUBIC)
        difference = np.asarray(expected, np.float32) - np.asarray(found, np.float32)
        assert np.abs(difference).mean() < 4
    assert small == (tmp_path / "small.png").read_bytes()
    assert bad == b"no image"
    with Image.open(BytesIO(grey)) as found:
        assert found.size == (30, 30)
        assert np.asarray(found).max() > 250, "it is scaled by the range of values"
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / "deep.tiff")
    assert "set data.value_range" in EncodedImages(Folder(tmp_path), ["deep.tiff"], 30)[0]
