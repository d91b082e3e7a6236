"""From a decoded image to the views a network sees, still as 8-bit pixels.

The transforms take PIL images and make the pixels that Pillow makes, as the official release does:
its bilinear resize is antialiased, its blur is three box filters, its colour arithmetic is 8-bit.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Literal, Protocol

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from torchvision.transforms import v2

from cast_exp.config import Ordered
from cast_exp.data.views import Colour, View

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Transform = Callable[[Image.Image], Tensor]
"""RGB PIL image -> uint8 tensor (3, size, size); draws from torch's global generator."""

RandomErasing = Callable[[Tensor], tuple[Tensor, Tensor]]
"""uint8 view (3, H, W) -> what the network sees of it and what superpixels are computed of."""

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(ge=0)]
Hue = Annotated[float, Field(ge=0, le=0.5)]
Range = Annotated[tuple[Positive, Positive], Ordered]


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of ImageNet's pixels, float32 (3, 1, 1), sent there once."""
    mean, std = torch.tensor([IMAGENET_MEAN, IMAGENET_STD], device=device)[..., None, None]
    return mean, std


def normalise_(images: Tensor) -> Tensor:
    """Normalise by the ImageNet statistics, in place: float32 (..., 3, H, W) in 0..1."""
    mean, std = _statistics(images.device)
    return images.sub_(mean).div_(std)


def denormalise(images: Tensor) -> Tensor:
    """Undo the normalisation: (..., 3, H, W) -> the same shape with values in 0..1."""
    mean, std = _statistics(images.device)
    return (images * std + mean).clamp(0, 1)


class Augmentation(Protocol):
    """Makes the random views of an image that a training step sees."""

    transforms: Sequence[Transform]
    """One for each view."""

    erasing: RandomErasing | None = None
    """Covers a part of each finished view; None for nothing."""


class TwoViews(Augmentation):
    """Two random views of an image by the recipe of BYOL (Grill et al., 2020, appendix B).

    The operations, in this order: random resized crop (bilinear, antialiased, aspect ratio 3/4 to
    4/3), colour jitter, greyscale, Gaussian blur, solarisation (threshold 128), horizontal flip.
    The defaults are those of MoCo v3 and of the official CAST release. Where a probability is a
    pair, it holds for the first and the second view.

    Args:
        size: Side of the square views in pixels.
        crop_scale: Bounds of the share of the image's area that a crop covers.
        jitter: Strengths of brightness, contrast, saturation and hue jitter.
        jitter_probability: Probability of the colour jitter.
        grayscale_probability: Probability of dropping the colour.
        blur_sigma: Bounds of the blur's standard deviation in pixels.
        blur_probability: Probability of the blur in each view.
        solarize_probability: Probability of the solarisation in each view.
        flip_probability: Probability of the horizontal flip.
    """

    def __init__(
        self,
        size: Annotated[int, Field(ge=1)] = 224,
        crop_scale: Range = (0.08, 1.0),
        jitter: tuple[Positive, Positive, Positive, Hue] = (0.4, 0.4, 0.2, 0.1),
        jitter_probability: Probability = 0.8,
        grayscale_probability: Probability = 0.2,
        blur_sigma: Range = (0.1, 2.0),
        blur_probability: tuple[Probability, Probability] = (1.0, 0.1),
        solarize_probability: tuple[Probability, Probability] = (0.0, 0.2),
        flip_probability: Probability = 0.5,
    ) -> None:
        shared = (jitter, jitter_probability, grayscale_probability, blur_sigma)
        self.transforms: Sequence[Transform] = [
            View(size, crop_scale, flip_probability, Colour(*shared, blur, solarize))
            for blur, solarize in zip(blur_probability, solarize_probability, strict=True)
        ]


class CropFlip(Augmentation):
    """One random view of an image: random resized crop (bilinear, antialiased) and flip.

    The augmentation of linear probing in MoCo v3 and in the official CAST release.

    Args:
        size: Side of the square view in pixels.
        crop_scale: Bounds of the share of the image's area that a crop covers.
        flip_probability: Probability of the horizontal flip.
    """

    def __init__(
        self,
        size: Annotated[int, Field(ge=1)] = 224,
        crop_scale: Range = (0.08, 1.0),
        flip_probability: Probability = 0.5,
    ) -> None:
        self.transforms: Sequence[Transform] = [View(size, crop_scale, flip_probability)]


Resize = Literal["bilinear", "bicubic"]


def evaluation_transform(
    size: int, crop: float, resize: Resize | Literal["nearest"] = "bilinear"
) -> Transform:
    """Resize the shorter side to ``size / crop``, cut out the central square.

    ``crop=0.875`` with ``size=224`` is the usual resize to 256; ``crop=1`` only resizes, which
    suits images that are small already. ``resize="nearest"`` is for label maps.
    """
    shrink = v2.Resize(round(size / crop), interpolation=v2.InterpolationMode(resize))
    steps = [shrink, v2.CenterCrop(size), v2.PILToTensor()]
    transform: Transform = v2.Compose(steps)
    return transform
