"""Images of every kind, as Pillow and OpenCV write them, against plain arithmetic."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cast_exp.data.datasets import ImageFolder, UnreadableImage, read_image
from cast_exp.data.datasets.images import DeepImage, RGBItems, to_rgb
from cast_exp.data.datasets.label_reader import read_map
from cast_exp.errors import UserError
from cast_exp.predict.photo import read_photo

KINDS = {
    "jpg": ["RGB", "L", "CMYK"],
    "png": ["RGB", "L", "1", "P", "RGBA", "LA"],
    "tiff": ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK"],
    "bmp": ["RGB", "L", "1", "P"],
    "ppm": ["RGB", "L", "1"],
}


def drawn(dtype: str, low: float, high: float, *channels: int) -> NDArray:
    """Values of a type, its bounds among them."""
    values = np.random.default_rng(0).uniform(low, high, (7, 8, *channels)).astype(dtype)
    values[0, 0], values[0, 1] = low, high
    return values


def save(path: Path, values: NDArray) -> Path:
    """By OpenCV, which has blue first, and in former releases a lossy TIFF for colours."""
    order = [2, 1, 0, 3][: values.shape[-1]]
    plain = [cv2.IMWRITE_TIFF_COMPRESSION, 1] if path.suffix == ".tiff" else []
    assert cv2.imwrite(str(path), values if values.ndim == 2 else values[..., order], plain)
    return path


def patched(path: Path, tag: int, value: int) -> Path:
    """Change a tag of a TIFF."""
    data = path.read_bytes()
    for letter, code in (("H", 3), ("I", 4)):
        place = data.find(struct.pack("<HHI", tag, code, 1))
        if place >= 0:
            new = struct.pack(f"<{letter}", value)
            path.write_bytes(data[: place + 8] + new + data[place + 8 + len(new) :])
            return path
    raise AssertionError(tag)


def scaled(values: NDArray, low: float, high: float) -> NDArray:
    """One number after the other; grey for all three channels."""
    rgb = np.repeat(values[..., None], 3, -1) if values.ndim == 2 else values[..., :3]
    bytes_ = [min(max(round((float(v) - low) / (high - low) * 255), 0), 255) for v in rgb.ravel()]
    return np.array(bytes_).reshape(rgb.shape)


def check(path: Path, values: NDArray, own: tuple[float, float] | None) -> None:
    """The file becomes what it should with its own range, or needs one, and with a given one."""
    image = read_image(path)
    assert isinstance(image, DeepImage)
    assert image.size == (8, 7)
    given = (float(values.min()) - 1, float(values.max()) * 0.75)
    for value_range, used in ((None, own), (given, given)):
        if used is None:
            with pytest.raises(UserError, match=rf"^{path}: .*data\.value_range"):
                to_rgb(image, value_range, path)
        else:
            rgb = to_rgb(image, value_range, path)
            assert rgb.mode == "RGB"
            assert np.array_equal(np.asarray(rgb), scaled(values, *used))


@pytest.mark.parametrize(("suffix", "mode"), [(s, mode) for s in KINDS for mode in KINDS[s]])
def test_8_bits(tmp_path: Path, suffix: str, mode: str) -> None:
    """Colours are kept, grey is repeated, alpha is dropped, and a range does not apply."""
    image = Image.new("RGB", (7, 9), (200, 100, 50)).convert(mode)
    if mode[-1] == "A":
        image.putalpha(3)
    image.save(tmp_path / f"image.{suffix}")
    read = read_image(tmp_path / f"image.{suffix}")
    rgb = to_rgb(read, (0, 4095))
    assert (rgb.mode, rgb.size) == ("RGB", (7, 9))
    assert (rgb is read) == (read.mode == "RGB"), "the usual images are not copied"
    expected = (204, 102, 51) if mode == "P" else (200, 100, 50)  # the nearest of the palette
    if mode in ("L", "1", "LA"):
        expected = (np.ravel(image.getpixel((3, 3)))[0],) * 3
    assert np.abs(np.subtract(rgb.getpixel((3, 3)), expected)).max() <= 20 * (suffix == "jpg") + 2


@pytest.mark.parametrize(
    ("suffix", "channels"),
    [(suffix, c) for suffix in ("png", "tiff") for c in ((), (3,), (4,))]
    + [("pgm", ()), ("ppm", (3,))],
)
def test_16_bits(tmp_path: Path, suffix: str, channels: tuple[int, ...]) -> None:
    values = drawn("uint16", 0, 65535, *channels)
    check(save(tmp_path / f"a.{suffix}", values), values, (0, 65535))


def test_16_bits_by_pillow(tmp_path: Path) -> None:
    values = drawn("uint16", 3, 60000)
    for suffix in ("png", "tiff"):
        Image.fromarray(values).save(tmp_path / f"a.{suffix}")
        check(tmp_path / f"a.{suffix}", values, (0, 65535))
    check_own = to_rgb(Image.fromarray(values))  # a data set of one's own may give these
    assert np.array_equal(np.asarray(check_own), scaled(values, 0, 65535))


def test_12_bits(tmp_path: Path) -> None:
    """Where the file says so, 4095 is white."""
    values = drawn("uint16", 0, 4095)
    text = "\n".join(map(str, values.ravel()))
    (tmp_path / "a.pgm").write_text(f"P2\n8 7\n4095\n{text}\n")
    check(tmp_path / "a.pgm", values, (0, 4095))
    path = tmp_path / "a.tiff"
    Image.fromarray(drawn("uint16", 0, 65535)).save(path)  # whose bytes are taken for 12 bits
    with Image.open(path) as image:
        start = image.tag_v2[273][0]
    a, b, c = (np.frombuffer(path.read_bytes(), np.uint8, 84, start).reshape(7, 4, 3) + 0).T
    a, b, c = (x.astype(np.uint16) for x in (a, b, c))
    packed = np.stack([a << 4 | b >> 4, (b & 15) << 8 | c]).T.reshape(7, 8)
    check(patched(path, 258, 12), packed, (0, 4095))


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("float32", 0, 1),
        ("float64", 0.25, 0.5),
        ("float32", 0, 255),
        ("float32", -0.5, 0.5),
        ("int16", -1000, 3000),
        ("int32", 0, 100000),
        ("int8", -100, 100),
    ],
)
def test_other_numbers(
    tmp_path: Path, dtype: str, low: float, high: float, channels: tuple[int, ...]
) -> None:
    """Floats within 0..1 are as they are; of others somebody has to say what is black and white."""
    values = drawn(dtype, low, high, *channels)
    unit = dtype.startswith("float") and low >= 0 and high <= 1
    check(save(tmp_path / "a.tiff", values), values, (0, 1) if unit else None)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite(tmp_path: Path, wrong: float) -> None:
    values = drawn("float32", 0, 1)
    values[2, 2] = wrong
    path = save(tmp_path / "a.tiff", values)
    for value_range in (None, (0, 1)):
        with pytest.raises(UserError, match=f"{path}: .*not finite"):
            to_rgb(read_image(path), value_range, path)


def test_numbers_of_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    Image.new("LA", (7, 9)).save(path)
    read_image(path)
    with pytest.raises(UnreadableImage, match=r"a\.tiff: 2 channels"):
        read_image(patched(path, 338, 0))  # not alpha
    for mode, channels in (("RGBA", 5), ("RGB", 2)):
        Image.new(mode, (7, 9)).save(path)
        with pytest.raises(UnreadableImage, match=f"{channels} channels"):
            read_image(patched(path, 277, channels))


def test_orientation_tag_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("I;16", (20, 10)).save(tmp_path / "turned.png", exif=exif)
    for name in ("turned.jpg", "turned.png"):
        assert to_rgb(read_image(tmp_path / name)).size == (20, 10)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("good.jpg", "good.png", "deep.png", "deep.tiff", "float.tiff"):
        depth = {"d": np.uint16, "f": np.float32}.get(name[0], np.uint8)
        save(tmp_path / name, pixels.astype(depth))
        data = (tmp_path / name).read_bytes()
        (tmp_path / f"half_{name}").write_bytes(data[: len(data) // 2])
    (tmp_path / "zero.jpg").touch()
    (tmp_path / "text.jpg").write_text("<html>404</html>")
    (tmp_path / "dir.jpg").mkdir()
    (tmp_path / "odd.tiff").write_bytes(b"II*\0" + bytes(100))
    reasons = {
        "zero.jpg": "empty file",
        "text.jpg": "not an image",
        "half_good.jpg": "truncated",
        "half_good.png": "truncated",
        "half_deep.png": "truncated",
        "half_deep.tiff": "not decoded, or damaged",
        "half_float.tiff": "not decoded, or damaged",
        "odd.tiff": "not decoded, or damaged",
        "missing.jpg": "no such file",
        "dir.jpg": "is a directory",
    }
    for name, reason in reasons.items():
        with pytest.raises(UnreadableImage, match=reason) as caught:
            read_image(tmp_path / name)
        assert caught.value.path == str(tmp_path / name)
        assert caught.value.reason


def test_huge_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("L", (1500, 1400))
    image.save(path := tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    readers = (read_image, read_photo, lambda path: read_map(path, image))
    for read in readers:
        with pytest.raises(
            UnreadableImage, match=r"2\.1 megapixels, but Pillow opens 2\.0 at most"
        ):
            read(path)


def test_items_of_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "train/ant").mkdir(parents=True)
    values = drawn("uint16", 0, 4095)
    Image.fromarray(values).save(tmp_path / "train/ant/a.png")
    save(tmp_path / "train/ant/b.tiff", drawn("float32", 0, 2))
    items = RGBItems(ImageFolder("train", tmp_path), (0, 4095))
    assert (len(items), items.classes) == (2, ["ant"])
    assert items[0]["label"] == 0
    assert np.array_equal(np.asarray(items[0]["image"]), scaled(values, 0, 4095))
    with pytest.raises(UserError, match=f"{items.path(1)}: float32 values from 0 to 2"):
        RGBItems(items.dataset, None)[1]
