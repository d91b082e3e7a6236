"""What a superpixel method is, and what those that run on the CPU share."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cast_exp.errors import UserError
from cast_exp.output.pictures import to_bytes

_TOLERANCE = 1e-3  # rounding of a normalisation that was undone


class SuperpixelMethod(ABC):
    """A callable from images to superpixel labels, the same in a loader worker and on the device.

    Labels are ``0..K-1``; K depends on the size of the images alone, see :meth:`labels`, and some
    labels may own no pixel of an image. Which pixel has which label depends on its image alone: not
    on the neighbours in the batch, not on a random state.

    Args:
        count: Superpixels asked for, for each image.

    Raises:
        UserError: ``count`` is below :attr:`fewest`.
    """

    device: ClassVar[Literal["cpu", "any"]]
    """Where the method runs: on the CPU, one image after the other, or where the images are."""

    forks: ClassVar[bool] = True
    """Whether loader workers that run it may be forked from a process that uses CUDA."""

    fewest: ClassVar[int] = 1
    """The smallest ``count`` that the method can serve."""

    def __init__(self, count: int) -> None:
        if count < self.fewest:
            raise UserError(
                f"{type(self).__name__} makes at least {self.fewest} superpixels, not {count}; "
                f"set count to {self.fewest} or more"
            )
        self.count = count

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Segment a batch.

        Args:
            images: RGB, float (B, 3, H, W) in 0..1, of any size; grey images have three equal
                channels.

        Returns:
            Labels, int64 (B, H, W) on the device of ``images``.

        Raises:
            UserError: Wrong shape or type, (all methods but ``Grid``) values outside 0..1; labels
                of another shape or type or, on the CPU, where a look at them waits for nothing,
                that are not below `labels`.
        """
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            shape = tuple(images.shape)
            raise UserError(f"superpixels need RGB images of shape (B, 3, H, W), not {shape}")
        if not images.is_floating_point():
            raise UserError(
                f"superpixels need float images in 0..1, not {images.dtype}; divide by 255"
            )
        found = self.segment(images)
        wanted = (len(images), *images.shape[2:])
        if found.shape != wanted or found.dtype != torch.int64:
            raise UserError(
                f"{type(self).__name__} should give int64 labels of shape {wanted}, not "
                f"{str(found.dtype).removeprefix('torch.')} of {tuple(found.shape)}; mend its "
                "segment()"
            )
        if found.device.type == "cpu":
            count = self.labels(*images.shape[2:])
            for label in found.aminmax():
                if not 0 <= label < count:
                    raise UserError(
                        f"{type(self).__name__} gave a pixel the label {label}, but says that an "
                        f"image of {' x '.join(map(str, images.shape[2:]))} pixels has {count} "
                        "labels, from 0; mend its labels()"
                    )
        return found

    @abstractmethod
    def segment(self, images: Tensor) -> Tensor:
        """Segment images that `__call__` has checked; same shapes."""

    @abstractmethod
    def labels(self, height: int, width: int) -> int:
        """The number of labels of an image of that size; every label is below it.

        Args:
            height: Pixels.
            width: Pixels.

        Returns:
            At least 1 and at most ``count``.
        """

    def __repr__(self) -> str:
        """Name and parameters, for tables and logs."""
        values = ", ".join(
            f"{name}={value}" for name, value in vars(self).items() if name[0] != "_"
        )
        return f"{type(self).__name__}({values})"


class HostMethod(SuperpixelMethod):
    """A method whose library takes one 8-bit image at a time on the CPU."""

    device = "cpu"

    def segment(self, images: Tensor) -> Tensor:
        """Segment image by image, on the 8-bit values that the floats were made from."""
        require_unit_range(images)
        labels = [self._labels_of(image) for image in to_bytes(images)]
        return torch.from_numpy(np.stack(labels)).to(images.device)

    def _labels_of(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        found = np.asarray(self.segment_image(image))
        if found.shape != image.shape[:2] or not np.issubdtype(found.dtype, np.integer):
            raise UserError(
                f"{type(self).__name__} should give integer labels of shape {image.shape[:2]}, not "
                f"{found.dtype} of {found.shape}; mend its segment_image()"
            )
        return found.astype(np.int64)

    @abstractmethod
    def segment_image(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """Segment one image.

        Args:
            image: RGB, uint8 (H, W, 3), C-contiguous.

        Returns:
            Labels, all below `labels`, any integer type (H, W).
        """


def require_unit_range(images: Tensor) -> None:
    """Refuse images that were normalised, or never divided by 255.

    Raises:
        UserError: A value is outside 0..1 (by more than rounding) or not a number.
    """
    low, high = (float(value) for value in images.aminmax())
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):
        raise UserError(
            f"superpixels need images with values in 0..1, not {low:.3g}..{high:.3g}; "
            "compute them before normalising"
        )
