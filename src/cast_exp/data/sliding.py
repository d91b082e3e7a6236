"""Windows over images for evaluation, as Segmenter has them."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cast_exp.data.transforms import normalise_
from cast_exp.models.windows import Windows, starts
from cast_exp.ops import Superpixels
from cast_exp.superpixels import SuperpixelMethod


def short_side_size(shape: tuple[int, ...], short_side: float, max_ratio: float) -> tuple[int, int]:
    """Size with a shorter side, unless the longer one would be more than a multiple of that.

    Args:
        shape: Height and width.
        short_side: The side wanted, in pixels.
        max_ratio: That multiple.
    """
    factor = min(short_side / min(shape), max_ratio * short_side / max(shape))
    height, width = (max(int(side * factor + 0.5), 1) for side in shape)
    return height, width


@dataclass(frozen=True)
class Sliding:
    """How an image is cut into windows (official release, Segmenter).

    Its shorter side is brought to a size and, if that is less than a window, to that of a window,
    bilinearly and without smoothing. Superpixels are those of each window by itself.

    Attributes:
        side: Side of the windows, in pixels.
        stride: From one window to the next.
        short_side: Size of the shorter side of the image.
        max_ratio: Most that the longer side may be, as a multiple of `short_side`.
        ratios: Multiples of `short_side`: a version of the image at each.
        mirrored: Each version mirrored as well.
    """

    side: int
    stride: int
    short_side: int
    max_ratio: float
    ratios: tuple[float, ...] = (1.0,)
    mirrored: bool = False

    def __call__(
        self, image: NDArray[np.uint8], superpixel: SuperpixelMethod, outline: NDArray[np.uint8]
    ) -> tuple[Windows, ...]:
        """The versions of an image (H, W, 3).

        Args:
            image: RGB.
            superpixel: The superpixel method.
            outline: Value that each value of each channel has where superpixels are computed, uint8
                (3, 256).
        """
        versions = []
        for ratio in self.ratios:
            short = int(self.short_side * ratio)
            height, width = short_side_size(image.shape[:2], short, self.max_ratio)
            scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
            if min(height, width) < self.side:
                factor = self.side / min(height, width)
                height, width = (max(round(n * factor), self.side) for n in (height, width))
                scaled = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR)
            for flip in (False, True)[: 1 + self.mirrored]:
                pixels = np.asarray(scaled[:, ::-1] if flip else scaled, np.uint8)
                versions.append(self._cut(pixels, superpixel, outline, flip))
        return tuple(versions)

    def _cut(
        self,
        pixels: NDArray[np.uint8],
        superpixel: SuperpixelMethod,
        outline: NDArray[np.uint8],
        mirrored: bool,
    ) -> Windows:
        height, width = pixels.shape[:2]
        tops, lefts = (starts(n, self.side, self.stride) for n in (height, width))
        cut = np.stack([pixels[y : y + self.side, x : x + self.side] for y in tops for x in lefts])
        images = torch.from_numpy(cut).movedim(-1, 1)
        outlined = torch.from_numpy(outline[[0, 1, 2], cut]).movedim(-1, 1)
        labels = superpixel(outlined / 255)
        count = superpixel.labels(self.side, self.side)
        return Windows(
            normalise_((images / 255).contiguous()),
            Superpixels.of(labels, count),
            tops,
            lefts,
            (height, width),
            mirrored,
        )
