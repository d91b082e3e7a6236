"""SLIC superpixels by the fast-slic library: the fastest on a CPU."""

from importlib.util import find_spec
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cast_exp.errors import UserError
from cast_exp.superpixels.base import HostMethod

_MOST = 65534  # the library keeps labels in 16 bits


class FastSlic(HostMethod):
    """SLIC superpixels of the optional library fast-slic, in 8-bit LAB.

    Uses one thread, since loader workers already occupy the cores; the labels depend neither on
    that nor on the instruction set. Fragments under a quarter of the mean area are merged by the
    library, so the last labels may own no pixel, unless ``exact`` cuts the largest superpixels.

    Args:
        count: Superpixels asked for, at most 65534. An image with fewer pixels gets one for each.
        compactness: Weight of the distance in space against that in colour; the larger, the
            squarer the superpixels.
        iterations: Passes over the pixels.
        exact: See `Slic`.

    Raises:
        UserError: fast-slic is not installed, or ``count`` is too large.
    """

    forks = False  # workers forked on a GPU machine died of SIGSEGV; not reproduced elsewhere

    def __init__(
        self,
        count: Annotated[int, Field(ge=1, le=_MOST)] = 196,
        compactness: Annotated[float, Field(gt=0)] = 10.0,
        iterations: Annotated[int, Field(ge=1)] = 10,
        exact: bool = False,
    ) -> None:
        super().__init__(count)
        if count > _MOST:
            raise UserError(f"FastSlic makes at most {_MOST} superpixels, not {count}")
        if not self.is_installed():
            raise UserError(
                "superpixel=fast_slic needs the library fast-slic; install it with `make setup`, "
                "or with `pip install numpy cython setuptools` followed by "
                "`pip install --no-build-isolation fast-slic==0.4.0`; or choose superpixel=slic"
            )
        self.compactness = compactness
        self.iterations = iterations
        self.exact = exact

    @staticmethod
    def is_installed() -> bool:
        """Whether the library is there."""
        return find_spec("cfast_slic") is not None

    def labels(self, height: int, width: int) -> int:
        """See `SuperpixelMethod.labels`."""
        return min(self.count, height * width)

    def segment_image(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """See `HostMethod.segment_image`."""
        from fast_slic import Slic, supported_archs
        from fast_slic.avx2 import SlicAvx2

        algorithm = SlicAvx2 if "x64/avx2" in supported_archs else Slic
        slic = algorithm(
            num_components=self.labels(*image.shape[:2]),  # more than the pixels would crash it
            compactness=self.compactness,
            num_threads=1,
        )
        return np.asarray(slic.iterate(image, self.iterations)).view(np.uint16)
