"""Image files of any kind, and the one rule by which they become 8-bit RGB."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    ImageFileDirectory_v2,
    TiffImageFile,
)
from torch.utils.data import Dataset

from cast_exp.config import Ordered
from cast_exp.data.datasets.base import RawDataset, readable
from cast_exp.errors import UserError

ValueRange = Annotated[tuple[float, float], Ordered]
"""The values that become black and white."""

_TIFF = (b"II*\0", b"MM\0*")
_UNSIGNED = 1  # a sample format
_WHITE = 255  # of 8 bits


@dataclass(frozen=True)
class DeepImage:
    """An image of other values than 8 bits hold, as its file has them.

    Attributes:
        values: (H, W), (H, W, 3) RGB or (H, W, 4) RGB and alpha: integers or floats.
        white: The highest value of the type, whose lowest is 0; None if that says nothing of what
            is white: signed integers, 32 bits, floats.
        orientation: As EXIF counts it; the values are not turned.
    """

    values: NDArray[Any]
    white: int | None = None
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as Pillow has it."""
        height, width = self.values.shape[:2]
        return width, height

    @property
    def colours(self) -> NDArray[Any]:
        """The values without alpha: (H, W) or (H, W, 3)."""
        return self.values[..., :3] if self.values.shape[2:] == (4,) else self.values

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value but for alpha."""
        return self.colours.min().item(), self.colours.max().item()

    def black_and_white(self, value_range: ValueRange | None = None) -> ValueRange:
        """The values that become black and white.

        Args:
            value_range: They. By default those of an unsigned type are its lowest and highest,
                those of floats within 0..1 are 0 and 1.

        Raises:
            ValueError: They are needed but not given, or a value is not finite.
        """
        low, high = self.bounds
        if not (isfinite(low) and isfinite(high)):
            raise ValueError("it has values that are not finite")
        if value_range is not None:
            return value_range
        if self.white is not None:
            return 0, self.white
        if self.values.dtype.kind == "f" and low >= 0 and high <= 1:
            return 0, 1
        raise ValueError(
            f"{self.values.dtype} values from {low:g} to {high:g}, of which nothing says what is "
            "black and what white; set data.value_range=[LOW,HIGH] (of segment, "
            "--value-range=LOW,HIGH)"
        )

    def eight_bits(self, value_range: ValueRange | None = None) -> Image.Image:
        """Scale black to 0 and white to 255, rounded; what lies beyond them is clipped.

        Alpha is scaled by its type. Arguments and errors are those of `black_and_white`.

        Returns:
            An image of mode L, RGB or RGBA.
        """
        pixels = _scaled(self.colours, *self.black_and_white(value_range))
        if self.colours is not self.values:
            pixels = np.dstack([pixels, _scaled(self.values[..., 3], 0, self.white or 1)])
        image = Image.fromarray(pixels)
        image.getexif()[ExifTag.Orientation] = self.orientation
        return image


def _scaled(values: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    scaled = (values.astype(np.float64) - black) / (white - black) * 255
    return np.rint(scaled).clip(0, 255).astype(np.uint8)


def read_image(path: str | Path) -> Image.Image | DeepImage:
    """Decode an image file completely.

    EXIF orientation is ignored, as in torchvision's ``ImageFolder``, so that pixels agree with
    published ImageNet and COCO results and their annotations.

    Returns:
        8-bit images in the mode that Pillow gives them, others as `DeepImage`. (Deep images of
        formats that Pillow brings to 8 bits itself, JPEG 2000 in colour and AVIF, are 8-bit.)

    Raises:
        UnreadableImage: Missing, empty, truncated or undecodable file, or one with 2 or more than
            4 channels that are not grey or colour with alpha.
    """
    with readable(path), Path(path).open("rb") as file:
        return decode_image(file)


def decode_image(file: BinaryIO) -> Image.Image | DeepImage:
    """What `read_image` does, of an open file; it raises what its decoder does."""
    try:
        image = Image.open(file)
    except UnidentifiedImageError:
        file.seek(0)
        if not (magic := file.read(4)):
            raise ValueError("empty file (0 bytes)") from None
        if magic not in _TIFF:
            raise
        return _tiff_beyond_pillow(file)
    if isinstance(image, TiffImageFile):
        _check_channels(image.tag_v2.get(SAMPLESPERPIXEL, 1), image.mode)
    white = _white(image)  # which loading makes Pillow forget
    image.load()
    if white == _WHITE:
        return image
    if image.mode[0] in "IF" and image.format != "PPM":
        values = np.asarray(image)
    else:  # Pillow cuts or rescales them
        values = _decoded(file, alpha=image.mode in ("LA", "RGBA"))
    return DeepImage(values, white, image.getexif().get(ExifTag.Orientation, 1))


def _white(image: Image.Image) -> int | None:
    """The highest value of the type in an image that has been opened but not loaded yet."""
    tiles = getattr(image, "tile", None)
    stored = tiles[0][3] if tiles else ""  # Pillow's name for how
    if image.mode == "F":
        return None
    if isinstance(image, TiffImageFile):
        if image.tag_v2.get(SAMPLEFORMAT, (_UNSIGNED,))[0] != _UNSIGNED:
            return None
        bits = max(image.tag_v2.get(BITSPERSAMPLE, (1,)))
        if bits <= 8 or image.mode == "CMYK":
            return _WHITE
        return 2**bits - 1 if bits <= 16 else None
    if image.format == "PPM" and isinstance(stored, tuple):
        return max(int(stored[-1]), _WHITE)
    if image.mode[0] == "I":
        return 65535 if image.mode != "I" or image.format in ("PNG", "PPM") else None
    return 65535 if image.format == "PNG" and ";16" in str(stored) else _WHITE


def _tiff_beyond_pillow(file: BinaryIO) -> DeepImage:
    """A TIFF of a kind that OpenCV knows but Pillow does not: floats in colour and the like."""
    file.seek(0)
    tags = ImageFileDirectory_v2(file.read(8))
    file.seek(tags.next)
    tags.load(file)
    _check_channels(tags.get(SAMPLESPERPIXEL, 1))
    return DeepImage(_decoded(file))


def _check_channels(channels: int, mode: str = "") -> None:
    if channels > 4 or (channels == 2 and mode != "LA"):
        raise ValueError(f"{channels} channels; an image should have 1 (grey), 3 or 4 (RGB, alpha)")


def _decoded(file: BinaryIO, alpha: bool = False) -> NDArray[Any]:
    """All bits of a file, (H, W) or (H, W, 3), with alpha (H, W, 4)."""
    file.seek(0)
    values = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError("a kind that is not decoded, or damaged")
    order = [2, 1, 0, 3] if alpha else [2, 1, 0]  # OpenCV has blue first
    return np.asarray(values if values.ndim == 2 else values[..., order])


def as_stored(image: Image.Image | DeepImage) -> Image.Image | DeepImage:
    """An image that Pillow has of other than 8 bits, as `DeepImage`; others as they are."""
    if isinstance(image, Image.Image) and image.mode[0] in "IF":
        return DeepImage(np.asarray(image), _white(image))
    return image


def to_rgb(
    image: Image.Image | DeepImage, value_range: ValueRange | None = None, path: str | Path = ""
) -> Image.Image:
    """Bring an image to 8-bit RGB; one that is so already is returned as it is.

    Grey is repeated for the three channels, palettes and CMYK are converted by Pillow, alpha is
    dropped; for other than 8 bits see `DeepImage.eight_bits`.

    Args:
        image: Of any kind.
        value_range: Values of black and white of images of other than 8 bits.
        path: Its file, for messages.

    Raises:
        UserError: The range is needed but not given, or a value is not finite.
    """
    image = as_stored(image)
    if isinstance(image, DeepImage):
        try:
            image = image.eight_bits(value_range)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
    return image if image.mode == "RGB" else image.convert("RGB")


class RGBItems(Dataset[dict[str, Any]]):
    """A raw dataset with its images brought to 8-bit RGB; see `to_rgb`."""

    def __init__(self, dataset: RawDataset, value_range: ValueRange | None) -> None:
        self.dataset = dataset
        self.value_range = value_range
        self.classes = dataset.classes

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.dataset[index]
        return {**item, "image": to_rgb(item["image"], self.value_range, self.path(index))}

    def path(self, index: int) -> str:
        """See `RawDataset.path`."""
        return self.dataset.path(index)
