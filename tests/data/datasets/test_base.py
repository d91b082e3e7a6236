import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cast_exp.data.datasets import UnreadableImage, read_rgb

KINDS = {
    "jpg": ["RGB", "L", "CMYK"],
    "png": ["RGB", "L", "1", "P", "RGBA", "LA", "I;16"],
    "tiff": ["RGB", "L", "1", "P", "RGBA", "CMYK", "I;16"],
}


@pytest.mark.parametrize(("suffix", "mode"), [(s, mode) for s in KINDS for mode in KINDS[s]])
def test_every_kind_of_image_becomes_rgb(tmp_path: Path, suffix: str, mode: str) -> None:
    image = Image.fromarray(np.full((9, 7, 3), (200, 100, 50), np.uint8))
    image = Image.new("I;16", (7, 9), 1000) if mode == "I;16" else image.convert(mode)
    file = tmp_path / f"image.{suffix}"
    image.save(file)
    read = read_rgb(file)
    assert (read.mode, read.size) == ("RGB", (7, 9))
    if mode == "RGB" and suffix == "png":
        assert read.getpixel((0, 0)) == (200, 100, 50)
    if mode == "CMYK" and suffix == "jpg":
        assert np.abs(np.subtract(read.getpixel((0, 0)), (200, 100, 50))).max() < 20


def test_orientation_tag_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_rgb(tmp_path / "turned.jpg").size == (20, 10)


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "good.jpg")
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "good.png")
    for good in ("good.jpg", "good.png"):
        data = (tmp_path / good).read_bytes()
        (tmp_path / f"half_{good}").write_bytes(data[: len(data) // 2])
    (tmp_path / "zero.jpg").touch()
    (tmp_path / "text.jpg").write_text("<html>404</html>")
    (tmp_path / "dir.jpg").mkdir()
    reasons = {
        "zero.jpg": "empty file",
        "text.jpg": "not an image",
        "half_good.jpg": "truncated",
        "half_good.png": "truncated",
        "missing.jpg": "no such file",
        "dir.jpg": "is a directory",
    }
    for name, reason in reasons.items():
        with pytest.raises(UnreadableImage, match=reason) as caught:
            read_rgb(tmp_path / name)
        assert caught.value.path == str(tmp_path / name)


def test_unreadable_image_passes_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UnreadableImage("a.jpg", "broken")))
    assert (error.path, error.reason, str(error)) == ("a.jpg", "broken", "a.jpg: broken")
