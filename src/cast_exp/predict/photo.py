"""A user's own picture: found, read and made ready for a network."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from cast_exp.data import Scene
from cast_exp.data.datasets.base import UnreadableImage, readable
from cast_exp.data.datasets.images import DeepImage, ValueRange, read_image
from cast_exp.data.transforms import normalise_
from cast_exp.errors import UserError
from cast_exp.ops import Superpixels
from cast_exp.ops.labels import compact, nearest, shrunk_superpixels
from cast_exp.output.pictures import fitted
from cast_exp.superpixels import SuperpixelMethod

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm"})
"""Endings of the files that are taken for pictures in a folder."""

DETAIL = 1600
"""Longest side, in pixels, at which superpixels of a larger photo are computed."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Photo:
    """A picture.

    Attributes:
        path: Its file.
        name: What stands for it among the outputs: a relative path without suffix.
    """

    path: Path
    name: str


def find_photos(paths: Sequence[Path], without: Path) -> list[Photo]:
    """All pictures that are given, or lie below a folder that is given.

    Hidden files and folders are passed over. Where two pictures differ in their suffix only, the
    suffix stays part of their names.

    Args:
        paths: Files and folders.
        without: A folder whose pictures are not meant: that of the outputs.

    Raises:
        UserError: There is no such file or folder, no picture below a folder, or two pictures of
            one name in different folders.
    """
    found: dict[Path, Path] = {}  # to the name with suffix
    for path in paths:
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if _meant(p, path, without)]
            if not inside:
                endings = ", ".join(sorted(SUFFIXES))
                raise UserError(f"no pictures below {path}; endings looked for: {endings}")
            found.update((p, p.relative_to(path)) for p in inside)
        elif path.is_file():
            found[path] = Path(path.name)
        else:
            raise UserError(f"no file or folder {path}; check the path")
    names, stems = Counter(found.values()), Counter(name.with_suffix("") for name in found.values())
    for path, name in found.items():
        if names[name] > 1:
            raise UserError(f"{path} has the name of another picture; give each its own --out")
    return [
        Photo(path, str(name if stems[name.with_suffix("")] > 1 else name.with_suffix("")))
        for path, name in found.items()
    ]


def _meant(path: Path, folder: Path, without: Path) -> bool:
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and without.resolve() not in path.resolve().parents


def read_photo(path: Path, value_range: ValueRange | None = None) -> Pixels:
    """Decode a picture as a viewer shows it: upright by EXIF, what is transparent on white.

    Args:
        path: Its file.
        value_range: What becomes black and white if it has other than 8 bits; see `DeepImage`.

    Returns:
        RGB, uint8 (H, W, 3).

    Raises:
        UnreadableImage: Missing, empty, truncated or of no known format, or of values of which
            nothing says what is black and white.
    """
    image = read_image(path)
    with readable(path):
        if isinstance(image, DeepImage):
            image = image.eight_bits(value_range)
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB"))


def photo_scene(pixels: Pixels, method: SuperpixelMethod, size: int, path: Path) -> Scene:
    """Compute superpixels and what the network sees.

    Superpixels are computed at the photo's own size, or at `DETAIL` pixels if it is larger. The
    network sees the photo with its longer side brought to `size`.

    Args:
        pixels: RGB, uint8 (H, W, 3).
        method: Superpixel method.
        size: Longer side of what the network sees, in pixels.
        path: File of the photo.

    Returns:
        The scene, without any truth; `full_superpixels` has the photo's own size.
    """
    photo, shape = Image.fromarray(pixels), pixels.shape[:2]
    detailed = _as_tensor(photo, min(DETAIL, max(shape)))
    superpixels = compact(method(detailed)[0].numpy())
    image = _as_tensor(photo, size)
    height, width = image.shape[-2:]
    if superpixels.max() >= height * width:
        raise UnreadableImage(
            str(path),
            f"{superpixels.max() + 1} superpixels do not fit into the {width} x {height} pixels "
            "that the network sees",
        )
    full = superpixels if superpixels.shape == shape else nearest(superpixels, *shape)
    return Scene(
        normalise_(image),
        Superpixels.of(torch.from_numpy(shrunk_superpixels(superpixels, height, width))[None]),
        torch.from_numpy(full),
        {},
        0,
        str(path),
    )


def shrunk(pixels: Pixels, longest: int) -> Pixels:
    """A picture (H, W, 3) with its longer side at most `longest` pixels."""
    if longest >= max(pixels.shape[:2]):
        return pixels
    size = fitted(pixels.shape, longest)[::-1]
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _as_tensor(photo: Image.Image, longer: int) -> Tensor:
    """RGB in 0..1, float (1, 3, h, w), with the longer side brought to a number of pixels."""
    size = fitted(photo.size, longer)  # width first, as Pillow has it
    if size != photo.size:
        photo = photo.resize(size, Image.Resampling.BILINEAR)
    image: Tensor = F.pil_to_tensor(photo)[None] / 255
    return image
