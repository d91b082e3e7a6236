"""An image of any size with what people have drawn on it, ready for a network."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cast_exp.data.transforms import denormalise
from cast_exp.models.windows import Windows
from cast_exp.ops import Superpixels
from cast_exp.output.pictures import to_bytes


@dataclass(frozen=True)
class Scene:
    """One image for dense prediction and its evaluation.

    Whatever a network says of a superpixel is brought to pixels by `paint`, and whatever has been
    drawn on pixels is counted on superpixels: no feature is ever computed for a pixel.

    Attributes:
        image: Normalised image as the network sees it, float32 (1, 3, h, w).
        superpixels: Its superpixels, a batch of one map (1, h, w); each of 0..N-1 has a pixel.
        full_superpixels: The same superpixels at the size of the ground truth, int64 (H, W).
        truth: Ground truth by name, integer arrays (H, W): "semantic" (255 for void), "instance"
            (0 for none, 255 for void), "regions" (a list of maps, one for each annotator; -1 for
            void), whichever the data set has.
        index: Place of the image in its data set.
        path: Its file, or what stands for one.
        windows: Versions of it, each in windows, which the network sees in the place of `image`;
            none if it sees that. `image` is then of its own size, and each of its pixels has the
            superpixel of the first version's window in which it is most central.
    """

    image: Tensor
    superpixels: Superpixels
    full_superpixels: Tensor
    truth: Mapping[str, Any]
    index: int
    path: str
    windows: tuple[Windows, ...] = ()

    @property
    def count(self) -> int:
        """Number of superpixels."""
        return self.superpixels.count

    def to(self, device: torch.device | str) -> Self:
        """The scene with what a network reads on `device`; the rest stays on the CPU."""
        windows = tuple(version.to(device) for version in self.windows)
        image, superpixels = self.image.to(device), self.superpixels.to(device)
        return replace(self, image=image, superpixels=superpixels, windows=windows)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The image to look at, at the size of the truth: RGB, uint8 (H, W, 3)."""
        height, width = self.full_superpixels.shape
        pixels = cv2.resize(to_bytes(denormalise(self.image[0])), (width, height))
        return np.asarray(pixels, dtype=np.uint8)

    def paint(self, values: Tensor) -> Tensor:
        """Give each pixel the value of its superpixel: (N, ...) -> (H, W, ...), on the CPU."""
        return values.cpu()[self.full_superpixels]
