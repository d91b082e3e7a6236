"""SEEDS superpixels, by OpenCV: those of the paper's models."""

from math import ceil, sqrt
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cast_exp.superpixels.base import HostMethod
from cast_exp.superpixels.grid import square_patches

_LEVELS = 1  # as in the official release; OpenCV lifts it to 2
_PRIOR = 2  # smoothing of the borders, 0..5; as in the official release


class Seeds(HostMethod):
    """Superpixels extracted via energy-driven sampling (Van den Bergh et al., ECCV 2012).

    The defaults are those of the official release for self-supervised pre-training and linear
    probing at 224 pixels; its other entry points use 5 bins and 15 iterations (see the variants in
    ``conf/superpixel``). Runs on OpenCV's 8-bit LAB. Labels are OpenCV's own, not renumbered: in
    theory a label may own no pixel (in photographs all do), and a superpixel can consist of more
    than one piece.

    OpenCV starts from a grid of about ``count`` blocks whose size is a whole number of pixels and
    which do not stick out of the image, so K can be well below ``count``: 196 of 196 at 224 x 224,
    1024 of 1024 at 512 x 512, but 324 of 384 at 512 x 512 and 805 of 1024 at 333 x 500. Blocks
    smaller than 2 x 2 pixels make it crash or hang. An image too small for them gets as many
    blocks as fit; one too narrow even for that is cut into square patches as by ``Grid``.

    Args:
        count: Superpixels asked for.
        histogram_bins: Bins of the colour histograms for each channel.
        iterations: Passes over the pixels.
    """

    fewest = 10  # OpenCV lifts smaller counts to 10

    def __init__(
        self,
        count: Annotated[int, Field(ge=10)] = 196,
        histogram_bins: Annotated[int, Field(ge=1)] = 15,
        iterations: Annotated[int, Field(ge=0)] = 20,
    ) -> None:
        super().__init__(count)
        self.histogram_bins = histogram_bins
        self.iterations = iterations

    def segment_image(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """See `HostMethod.segment_image`."""
        height, width = image.shape[:2]
        count = _servable_count(height, width, self.count)
        if count is None:
            return square_patches(height, width, self.count).numpy()
        seeds = cv2.ximgproc.createSuperpixelSEEDS(
            width, height, 3, count, _LEVELS, _PRIOR, self.histogram_bins, False
        )
        seeds.iterate(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), self.iterations)
        return np.asarray(seeds.getLabels())


def _servable_count(height: int, width: int, count: int) -> int | None:
    """``count``, or a block for every four pixels, or None if OpenCV can lay neither."""
    for wanted in (count, min(count, height * width // 4)):
        rows = int(sqrt(wanted * height / width))
        columns = rows * width // height
        if wanted >= Seeds.fewest and _fits(height, rows) and _fits(width, columns):
            return wanted
    return None


def _fits(length: int, blocks: int) -> bool:
    """Whether OpenCV can lay blocks along a side: halves of blocks, rounded up, in pairs."""
    if blocks < 1 or length < 2 * blocks:
        return False
    return length // ceil(length / blocks / 2) >= 2
