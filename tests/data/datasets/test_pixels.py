"""Pixels are those that Pillow decodes, of files of any kind."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from cast_exp.data.datasets import ImageFolder, Shapes, UnreadableImage
from cast_exp.data.datasets.images import RGBItems
from cast_exp.data.datasets.pixels import PixelItems, decode_pixels


def picture(size: tuple[int, int] = (53, 37)) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save(root: Path) -> ImageFolder:
    (place := root / "train/ant").mkdir(parents=True)
    for mode in ("RGB", "L", "CMYK"):
        picture().convert(mode).save(place / f"{mode}.jpg")
    picture().save(place / "progressive.jpg", progressive=True, subsampling=0)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture().save(place / "turned.jpg", exif=exif, comment=b"..." * 99)
    picture().quantize(9).save(place / "palette.png")
    deep = np.random.default_rng(0).integers(0, 4096, (30, 20), dtype=np.uint16)
    Image.fromarray(deep).save(place / "deep.png")
    (place / "long.jpg").write_bytes((place / "RGB.jpg").read_bytes() + b"more")
    return ImageFolder("train", root)


def test_pixels_are_those_of_the_images(tmp_path: Path) -> None:
    dataset = save(tmp_path)
    images, pixels = RGBItems(dataset, (0, 4095)), PixelItems(dataset, (0, 4095))
    for index in range(len(dataset)):
        item = pixels[index]
        assert item["image"].dtype == np.uint8
        assert np.array_equal(item["image"], np.asarray(images[index]["image"]))
        assert item["label"] == 0


def test_data_sets_without_files(tmp_path: Path) -> None:
    shapes = Shapes("train", size=16)
    item = PixelItems(shapes, None)[3]
    assert np.array_equal(item["image"], np.asarray(shapes[3]["image"]))
    assert item["label"] == shapes[3]["label"]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_half_a_file_is_unreadable(tmp_path: Path, share: float) -> None:
    dataset = save(tmp_path)
    for index in range(len(dataset)):
        path = Path(dataset.path(index))
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(UnreadableImage) as pillows:
            dataset[index]
        with pytest.raises(UnreadableImage) as ours:
            PixelItems(dataset, (0, 4095))[index]
        assert str(ours.value) == str(pillows.value)


def test_pillow_decodes_no_jpeg_of_a_usual_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = save(tmp_path)
    monkeypatch.setattr(JpegImageFile, "load", lambda _: pytest.fail("Pillow decodes"))
    for name in ("L", "RGB", "progressive", "turned"):
        with (tmp_path / f"train/ant/{name}.jpg").open("rb") as file:
            assert decode_pixels(file).shape == (37, 53, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("OpenCV decodes"))
    with pytest.raises(UnreadableImage, match="Pillow opens"):
        PixelItems(dataset, (0, 4095))[[*dataset.names()].index("ant/RGB.jpg")]
