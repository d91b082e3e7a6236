"""Pictures as users have them: of any kind, anywhere, some of them broken."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from cast_exp.data.datasets.base import UnreadableImage
from cast_exp.errors import UserError
from cast_exp.predict.photo import DETAIL, find_photos, photo_scene, read_photo, shrunk
from cast_exp.superpixels import Grid, Seeds


def picture(height: int = 12, width: int = 20) -> np.ndarray:
    rows, columns = np.indices((height, width))
    return np.stack([rows * 9, columns * 9, rows + columns], 2).astype(np.uint8)


def test_upright_by_exif(tmp_path):
    image = Image.fromarray(picture())
    exif = image.getexif()
    exif[0x112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    assert (read_photo(tmp_path / "a.png") == np.rot90(picture(), -1)).all()
    grey = picture()[..., 0]
    for suffix in ("png", "tiff"):
        deep = Image.fromarray(grey.astype(np.uint16) * 257)
        deep.save(tmp_path / f"deep.{suffix}", exif=exif)
        assert (read_photo(tmp_path / f"deep.{suffix}") == np.rot90(grey, -1)[..., None]).all()


def test_grey_16_bit_and_transparent(tmp_path):
    grey = picture()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for name in ("grey", "deep"):
        assert (read_photo(tmp_path / f"{name}.png", None) == grey[..., None]).all()
    assert (read_photo(tmp_path / "deep.png", (0, 257 * 510))[..., 1] == np.rint(grey / 2)).all()
    alpha = np.full(grey.shape, 255, np.uint8)
    alpha[:, :5] = 0
    clear = np.dstack([picture(), alpha])
    Image.fromarray(clear).save(tmp_path / "clear.png")
    bgra = clear[..., [2, 1, 0, 3]].astype(np.uint16) * 257
    assert cv2.imwrite(str(tmp_path / "clear_deep.png"), bgra)
    for name in ("clear", "clear_deep"):
        pixels = read_photo(tmp_path / f"{name}.png")
        assert (pixels[:, :5] == 255).all()
        assert (pixels[:, 5:] == picture()[:, 5:]).all()


def test_values_that_need_a_range(tmp_path):
    path = tmp_path / "scan.tiff"
    values = np.linspace(-1000, 3000, 240).reshape(12, 20).astype(np.int16)
    assert cv2.imwrite(str(path), values)
    with pytest.raises(UnreadableImage, match=r"values from -1000 to 3000.*--value-range"):
        read_photo(path)
    pixels = read_photo(path, (-1000, 3000))
    assert (pixels == np.rint((values[..., None] + 1000.0) / 4000 * 255)).all()


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty file"), (b"no picture", "not an image")]
)
def test_broken_files(tmp_path, content, reason):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=reason):
        read_photo(path)


def test_truncated_file(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(picture(200, 300)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UnreadableImage, match="truncated"):
        read_photo(path)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_are_searched(tmp_path):
    inside = ["b.JPG", "sub/deep/c.png", "sub/c.tiff", "d.jpg", "d.png"]
    touch(*(tmp_path / name for name in inside))
    touch(tmp_path / "notes.txt", tmp_path / ".cache/x.jpg", tmp_path / "out/old/level.png")
    found = find_photos([tmp_path], without=tmp_path / "out")
    assert [str(photo.path.relative_to(tmp_path)) for photo in found] == sorted(inside)
    assert {p.name for p in found} == {"b", "sub/deep/c", "sub/c", "d.jpg", "d.png"}


def test_nothing_is_found(tmp_path):
    with pytest.raises(UserError, match="no pictures below"):
        find_photos([tmp_path], without=tmp_path / "out")
    with pytest.raises(UserError, match="no file or folder"):
        find_photos([tmp_path / "a.jpg"], without=tmp_path / "out")


def test_one_name_in_two_folders(tmp_path):
    touch(tmp_path / "x/1.jpg", tmp_path / "y/1.jpg")
    with pytest.raises(UserError, match="name of another"):
        find_photos([tmp_path / "x", tmp_path / "y/1.jpg"], without=tmp_path / "out")


@pytest.mark.parametrize("shape", [(30, 80), (80, 30), (2 * DETAIL, 40), (5, 7)])
def test_scenes_of_any_shape(shape):
    pixels = picture(*shape)
    scene = photo_scene(pixels, Grid(16), size=64, path=Path("a.jpg"))
    assert max(scene.image.shape[-2:]) == 64
    assert scene.image.shape[-2:] == scene.superpixels.map.shape[-2:]
    assert scene.full_superpixels.shape == shape
    everywhere = set(range(scene.count))
    assert set(scene.full_superpixels.unique().tolist()) == everywhere
    assert set(scene.superpixels.map.unique().tolist()) == everywhere


def test_large_photos_are_cut_at_their_detail():
    pixels = np.asarray(Image.fromarray(picture(40, 60)).resize((2 * DETAIL, DETAIL)))
    scene = photo_scene(pixels, Seeds(64, 5, 2), size=64, path=Path("a.jpg"))
    full = scene.full_superpixels.numpy()
    blocks = full.reshape(DETAIL // 2, 2, DETAIL, 2)
    assert (blocks == blocks[:, :1, :, :1]).all()


def test_more_superpixels_than_the_network_has_pixels():
    with pytest.raises(UnreadableImage, match="do not fit into the 8 x 8 pixels"):
        photo_scene(picture(40, 40), Grid(400), size=8, path=Path("a.jpg"))


def test_shrunk():
    assert shrunk(picture(40, 80), 20).shape == (10, 20, 3)
    assert shrunk(picture(), 100) is not None
    assert (shrunk(picture(), 100) == picture()).all()
