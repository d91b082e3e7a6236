"""Pictures: from floats to bytes, and their sizes."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def to_bytes(images: "Tensor") -> NDArray[np.uint8]:
    """Round images to 8 bits and put the channels last.

    Args:
        images: float (..., C, H, W); what is beyond 0..1 is clipped.

    Returns:
        uint8 (..., H, W, C), contiguous, on the CPU.
    """
    pixels = (images.detach().float() * 255).round().clamp(0, 255).byte()
    return np.ascontiguousarray(pixels.movedim(-3, -1).cpu().numpy())


def fitted(shape: tuple[int, ...], longer: int) -> tuple[int, int]:
    """Height and width, at least 1, of a picture (H, W, ...) whose longer side becomes `longer`."""
    height, width = (max(round(side * longer / max(shape[:2])), 1) for side in shape[:2])
    return height, width
