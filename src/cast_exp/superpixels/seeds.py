"""SEEDS superpixels, by OpenCV: those of the paper's models."""

from math import ceil, sqrt
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cast_exp.superpixels.base import HostMethod
from cast_exp.superpixels.grid import square_count, square_patches

_LEVELS = 1  # as in the official release; OpenCV lifts it to 2
_PRIOR = 2  # smoothing of the borders, 0..5; as in the official release


class Seeds(HostMethod):
    """Superpixels extracted via energy-driven sampling (Van den Bergh et al., ECCV 2012).

    The defaults are those of the official release for self-supervised pre-training and linear
    probing at 224 pixels; its other entry points use 5 bins and 15 iterations (see the variants in
    ``conf/superpixel``). Runs on OpenCV's 8-bit LAB. Labels are OpenCV's own, not renumbered: a
    label may own no pixel (in photographs nearly all do, unless blocks are tiny), and a superpixel
    can consist of more than one piece.

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

    def labels(self, height: int, width: int) -> int:
        """See `SuperpixelMethod.labels`; OpenCV's own number of superpixels."""
        _, blocks = _request(height, width, self.count)
        return blocks or square_count(height, width, self.count)

    def segment_image(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """See `HostMethod.segment_image`."""
        height, width = image.shape[:2]
        count, blocks = _request(height, width, self.count)
        if not blocks:
            return square_patches(height, width, self.count).numpy()
        seeds = cv2.ximgproc.createSuperpixelSEEDS(
            width, height, 3, count, _LEVELS, _PRIOR, self.histogram_bins, False
        )
        seeds.iterate(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), self.iterations)
        return np.asarray(seeds.getLabels())


def _request(height: int, width: int, count: int) -> tuple[int, int]:
    """What to ask OpenCV for, and the number of blocks that it lays then; 0 if it can lay none.

    It is asked for ``count`` or, if that cannot be, for a block for every four pixels.
    """
    for wanted in (count, min(count, height * width // 4)):
        rows = int(sqrt(wanted * height / width))
        columns = rows * width // height
        blocks = _blocks(height, rows) * _blocks(width, columns)
        if wanted >= Seeds.fewest and blocks:
            return wanted, blocks
    return count, 0


def _blocks(length: int, wanted: int) -> int:
    """Blocks that OpenCV lays along a side: halves of blocks, rounded up, in pairs."""
    if wanted < 1 or length < 2 * wanted:
        return 0
    return length // ceil(length / wanted / 2) // 2
