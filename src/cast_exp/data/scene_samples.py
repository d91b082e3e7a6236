"""From a raw item to a finished scene, and the loader that does so in worker processes."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Sampler
from torchvision.transforms.v2 import functional as F

from cast_exp.data.datasets.base import RawDataset
from cast_exp.data.loader import KeyedLoader
from cast_exp.data.photometric import Pixels, outline_values
from cast_exp.data.samples import KeyedSamples
from cast_exp.data.sampling import Key
from cast_exp.data.scene import Scene
from cast_exp.data.sliding import Sliding
from cast_exp.data.transforms import normalise_
from cast_exp.errors import UserError
from cast_exp.ops import Superpixels
from cast_exp.ops.labels import Labels, compact, nearest, shrunk_superpixels
from cast_exp.superpixels import SuperpixelMethod

Fit = Literal["long_side", "square", "center_crop", "windows"]


class SceneSamples(KeyedSamples):
    """The scenes of a raw dataset. Items have ``scene``, None if the image cannot be read.

    Args:
        dataset: The images and what is drawn on them.
        superpixel: The superpixel method.
        size: Side of the image that the network sees, in pixels.
        fit: How images come to that size; see `SceneDataModule`.
        truncate_sizes: See `SceneDataModule`.
        sliding: How images are cut, with `windows`.
        outline: See `outline_values`; for windows.
    """

    nothing: ClassVar[dict[str, Any]] = {"scene": None}

    def __init__(
        self,
        dataset: RawDataset,
        superpixel: SuperpixelMethod,
        size: int,
        fit: Fit,
        truncate_sizes: bool = False,
        sliding: Sliding | None = None,
        outline: Pixels | None = None,
    ) -> None:
        super().__init__(dataset, seed=0, attempts=1)
        self.superpixel = superpixel
        self.size = size
        self.fit = fit
        self.truncate_sizes = truncate_sizes
        self.sliding = sliding
        self.outline = outline_values(inverted=False) if outline is None else outline

    def make(self, raw: dict[str, Any], key: Key, chosen: int) -> dict[str, Any]:
        """The scene of an image."""
        path = self.dataset.path(chosen)
        truth = {name: drawn for name, drawn in raw.items() if name not in ("image", "label")}
        if self.sliding is not None:
            return {"scene": self._slid(self.sliding, raw["image"], truth, chosen, path)}
        if self.fit == "long_side":
            image, superpixels, full = self._whole(raw["image"], path)
        else:
            pixels, place = _SHAPED[self.fit](raw["image"], self.size)
            truth = {name: _each(drawn, place) for name, drawn in truth.items()}
            image = F.pil_to_tensor(pixels)[None] / 255
            superpixels = full = compact(self.superpixel(image)[0].numpy())
        scene = Scene(
            normalise_(image),
            Superpixels.of(torch.from_numpy(superpixels)[None]),
            torch.from_numpy(full),
            truth,
            chosen,
            path,
        )
        return {"scene": scene}

    def _slid(
        self, sliding: Sliding, image: Image.Image, truth: dict[str, Any], chosen: int, path: str
    ) -> Scene:
        """An image in windows."""
        pixels = np.asarray(image)
        versions = sliding(pixels, self.superpixel, self.outline)
        first = versions[0]
        labels, count = first.superpixels.map, first.superpixels.count
        full = first.on_image(labels, count, *pixels.shape[:2])
        return Scene(
            normalise_(_tensor(np.asarray(pixels, np.float32) / 255)),
            Superpixels.of(full[None], count * len(labels)),
            full,
            truth,
            chosen,
            path,
            versions,
        )

    def _whole(self, image: Image.Image, path: str) -> tuple[Tensor, Labels, Labels]:
        """All of an image with its longer side brought to the size."""
        pixels = np.asarray(image, np.float32) / 255
        full = compact(self.superpixel(_tensor(pixels))[0].numpy())
        longer = max(full.shape)
        if self.truncate_sizes:
            sides = [int(side * (self.size / longer)) for side in full.shape]
        else:
            sides = [round(side * self.size / longer) for side in full.shape]
        height, width = (max(side, 1) for side in sides)
        if full.max() >= height * width:
            raise UserError(
                f"{path}: {full.max() + 1} superpixels do not fit into the {height} x {width} "
                "pixels that the network sees; set data.image_size higher or superpixel.count lower"
            )
        # Without smoothing, as in the official release, also where the image shrinks.
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        return _tensor(pixels), shrunk_superpixels(full, height, width), full


class SceneLoader(KeyedLoader):
    """Scenes one by one; those that cannot be read are reported and left out. See `KeyedLoader`."""

    def __init__(self, samples: SceneSamples, sampler: Sampler[Key], **options: Any) -> None:
        super().__init__(samples, sampler, batch_size=None, **options)

    def __iter__(self) -> Iterator[Scene]:  # type: ignore[override]
        for found in super().__iter__():
            if found["scene"] is not None:
                yield found["scene"]


def _tensor(pixels: NDArray[Any]) -> Tensor:
    """(H, W, 3) -> (1, 3, H, W)."""
    return torch.from_numpy(pixels).movedim(-1, 0)[None].contiguous()


Placing = Callable[[Labels], Labels]


def _square(image: Image.Image, size: int) -> tuple[Image.Image, Placing]:
    return F.resize(image, [size, size]), lambda drawn: nearest(drawn, size, size)


def _center_crop(image: Image.Image, size: int) -> tuple[Image.Image, Placing]:
    shorter = min(image.size)
    width, height = (max(side * size // shorter, size) for side in image.size)
    top, left = (height - size) // 2, (width - size) // 2

    def place(drawn: Labels) -> Labels:
        return nearest(drawn, height, width)[top : top + size, left : left + size]

    return F.crop(F.resize(image, [height, width]), top, left, size, size), place


_SHAPED = {"square": _square, "center_crop": _center_crop}


def _each(drawn: Labels | list[Labels], place: Placing) -> Labels | list[Labels]:
    return [place(one) for one in drawn] if isinstance(drawn, list) else place(drawn)
