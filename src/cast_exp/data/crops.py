"""Random crops of images and of what is drawn on them, for training on pixels."""

from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cast_exp.data.datasets.base import RawDataset
from cast_exp.data.photometric import Pixels, distorted
from cast_exp.data.samples import KeyedSamples, packed_superpixels
from cast_exp.data.sampling import Key
from cast_exp.data.sliding import short_side_size
from cast_exp.data.transforms import IMAGENET_MEAN
from cast_exp.ops.labels import VOID, nearest
from cast_exp.superpixels import SuperpixelMethod

_TRIES = 10


class RandomCrop:
    """Flip, scale, pad at the bottom and on the right, and cut out a square (official release).

    Images are scaled bilinearly and without smoothing, labels take the nearest pixel's. Padding is
    of the mean colour, and void. All offsets at which the square fits are equally likely (the
    official release never draws the last one).

    Args:
        size: Side of the square in pixels.
        scale: Bounds of the factor, which is drawn uniformly.
        flip_probability: Probability of the horizontal flip.
        short_side: What the factor is of: the shorter side is first brought to so many pixels; None
            for the image as it is.
        max_ratio: Most that the longer side may be then, as a multiple of `short_side`.
        class_share: Most that one class may cover of the labelled pixels of a square; another
            square is drawn if it is more, ten times at most.
        distortion: Distort the colours; see `distorted`.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float],
        flip_probability: float,
        short_side: int | None = None,
        max_ratio: float = 4.0,
        class_share: float = 1.0,
        distortion: bool = False,
    ) -> None:
        self.size = size
        self.scale = scale
        self.flip_probability = flip_probability
        self.short_side = short_side
        self.max_ratio = max_ratio
        self.class_share = class_share
        self.distortion = distortion

    def __call__(
        self, image: NDArray[np.uint8], labels: NDArray[Any], random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Crop an image (H, W, 3) and its labels (H, W)."""
        if random.random() < self.flip_probability:
            image, labels = np.ascontiguousarray(image[:, ::-1]), labels[:, ::-1]
        factor = random.uniform(*self.scale)
        height, width = self._scaled(labels.shape, factor)
        labels = nearest(labels, height, width)
        window = self._window((height, width), random)
        for _ in range(_TRIES if self.class_share < 1 else 0):
            if not self._uniform(labels[window]):
                break
            window = self._window((height, width), random)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)[window]
        if self.distortion:
            image = distorted(image, random)
        labels = labels[window]
        below, beside = (self.size - side for side in labels.shape)
        mean = [round(255 * mean) for mean in IMAGENET_MEAN]
        image = cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=mean)
        return image, np.pad(labels, ((0, below), (0, beside)), constant_values=VOID)

    def _scaled(self, shape: tuple[int, ...], factor: float) -> tuple[int, int]:
        if self.short_side is not None:
            return short_side_size(shape, int(self.short_side * factor), self.max_ratio)
        height, width = (max(int(side * factor), 1) for side in shape)
        return height, width

    def _window(self, shape: tuple[int, int], random: np.random.Generator) -> tuple[slice, slice]:
        top, left = (int(random.integers(max(side - self.size, 0) + 1)) for side in shape)
        return slice(top, top + self.size), slice(left, left + self.size)

    def _uniform(self, labels: NDArray[Any]) -> bool:
        """Whether one class covers too much of the pixels that are not void."""
        pixels = np.bincount(labels[labels != VOID], minlength=1)
        return bool(pixels.max() >= self.class_share * pixels.sum())


class CropSamples(KeyedSamples):
    """Random crops with their superpixels, each drawn from a generator of (seed, epoch, index).

    Items have ``views`` (a list of one uint8 (3, S, S), None when no image could be read),
    ``superpixels`` (a list of one map, see `packed_superpixels`) and ``semantic``, uint8 (S, S).

    Args:
        dataset: Images with "semantic".
        crop: Makes the crops.
        superpixel: The superpixel method.
        superpixel_scale: Side of the copy that superpixels are computed on, as a share of S.
        seed: See :class:`KeyedSamples`.
        outline: See `outline_values`.
    """

    nothing: ClassVar[dict[str, Any]] = {"views": None, "superpixels": [], "semantic": None}

    def __init__(
        self,
        dataset: RawDataset,
        crop: RandomCrop,
        superpixel: SuperpixelMethod,
        superpixel_scale: float,
        seed: int,
        outline: Pixels,
    ) -> None:
        super().__init__(dataset, seed)
        self.crop = crop
        self.superpixel = superpixel
        self.outline = outline
        self.side = max(round(crop.size * superpixel_scale), 1)

    def make(self, raw: dict[str, Any], key: Key, chosen: int) -> dict[str, Any]:
        """A crop of an image."""
        random = np.random.default_rng((self.seed, *key))
        image, labels = self.crop(np.asarray(raw["image"]), raw["semantic"], random)
        small = cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        outlined = torch.from_numpy(self.outline[[0, 1, 2], small]).movedim(-1, 0)
        return {
            "views": [torch.from_numpy(image).movedim(-1, 0).contiguous()],
            "superpixels": [packed_superpixels(self.superpixel, outlined)],
            "semantic": torch.from_numpy(labels),
        }
