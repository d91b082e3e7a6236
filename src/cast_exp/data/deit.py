"""The view of an image that DeiT trains on (Touvron et al., 2021, table 9), by timm's parts."""

from collections.abc import Sequence
from typing import Annotated

import torch
from PIL import Image
from pydantic import Field
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision.transforms import v2

from cast_exp.data.randomness import seeded_from_torch
from cast_exp.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Augmentation,
    Probability,
    Range,
    Transform,
)


class DeiT(Augmentation):
    """One random view: random resized crop (bicubic), flip, RandAugment, and random erasing.

    Args:
        size: Side of the square view in pixels.
        crop_scale: Bounds of the share of the image's area that a crop covers.
        flip_probability: Probability of the horizontal flip.
        policy: RandAugment as timm writes it: magnitude 9 with a deviation of 0.5, operations that
            get stronger with it; None for none.
        erasing_probability: Probability that a rectangle of the view is erased.
        superpixels_before_erasing: See `Erasing`.
    """

    def __init__(
        self,
        size: Annotated[int, Field(ge=1)] = 224,
        crop_scale: Range = (0.08, 1.0),
        flip_probability: Probability = 0.5,
        policy: Annotated[str, Field(pattern="^rand-")] | None = "rand-m9-mstd0.5-inc1",
        erasing_probability: Probability = 0.25,
        superpixels_before_erasing: bool = True,
    ) -> None:
        bicubic = v2.InterpolationMode.BICUBIC
        steps = [
            v2.RandomResizedCrop(size, scale=tuple(crop_scale), interpolation=bicubic),
            v2.RandomHorizontalFlip(p=flip_probability),
            *([] if policy is None else [RandAugment(policy)]),
            v2.PILToTensor(),
        ]
        self.transforms: Sequence[Transform] = [v2.Compose(steps)]
        if erasing_probability > 0:
            self.erasing = Erasing(erasing_probability, superpixels_before_erasing)


class RandAugment:
    """timm's RandAugment, drawn from torch's generator; what moves out of sight is mean grey.

    Args:
        policy: As timm writes it.
    """

    def __init__(self, policy: str) -> None:
        grey = tuple(round(255 * mean) for mean in IMAGENET_MEAN)
        options = {
            "img_mean": grey,
            "interpolation": Image.Resampling.BICUBIC,
            # Just below 10, where timm posterises to no bits: black, and an error in new Pillows.
            "magnitude_max": 9.99,
        }
        self.operations = rand_augment_transform(policy, options)

    def __call__(self, image: Image.Image) -> Image.Image:
        """Distort an image by two operations."""
        with seeded_from_torch():
            distorted: Image.Image = self.operations(image)
        return distorted


class Erasing:
    """timm's random erasing: fills a rectangle of 2 to 33 % of an 8-bit view with noise.

    The noise has the mean and deviation of ImageNet's pixels in each channel: N(0, 1) in normalised
    images. Unlike in the official release it stays within what a pixel can be, which cuts its tails
    beyond about two deviations.

    Args:
        probability: Probability of erasing.
        superpixels_before: Make superpixels of the view as it is, so that they outline what the
            image shows. False is the official release, which computes them last: they outline
            noise, and the way there and back through normalised images takes 1 off some values of
            all other pixels and wraps the noise around at 0 and 255.
    """

    def __init__(self, probability: Probability, superpixels_before: bool = True) -> None:
        self.erase = RandomErasing(probability, mode="pixel", device="cpu")
        self.superpixels_before = superpixels_before

    def never(self) -> "Erasing":
        """The same for images of validation, in which nothing is erased."""
        return Erasing(0.0, self.superpixels_before)

    def __call__(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Erase, or leave the view as it is.

        Args:
            view: uint8 (3, H, W); it is not changed.

        Returns:
            What the network sees and what superpixels are computed of, both as `view`.
        """
        with seeded_from_torch():  # timm draws the rectangle from Python's generator
            noise = self.erase(torch.zeros(view.shape))
        erased = torch.where(noise == 0, view, _pixels(noise).round().clamp(0, 255).to(torch.uint8))
        if self.superpixels_before:
            return erased, view
        mean, std = (torch.tensor(x).view(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
        normalised = torch.where(noise == 0, (view / 255 - mean) / std, noise)
        return erased, _pixels(normalised).long().to(torch.uint8)  # to long cuts, to uint8 wraps


def _pixels(normalised: Tensor) -> Tensor:
    """Undo the normalisation: float64 with 0..255 for what a pixel can be."""
    mean, std = (
        torch.tensor(x, dtype=torch.float64).view(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return (normalised * std + mean) * 255
