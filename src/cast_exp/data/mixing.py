"""Mixup and cutmix of a batch, with superpixels that follow what is pasted."""

from typing import Annotated

import torch
from pydantic import Field
from timm.data.mixup import Mixup, cutmix_bbox_and_lam
from torch import Tensor

from cast_exp.data.randomness import seeded_from_torch
from cast_exp.errors import UserError

Alpha = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Mixing:
    """Blends each image of a batch with a partner (mixup) or pastes a rectangle of it (cutmix).

    All is drawn by timm, once for a batch, and follows from torch's seed. The partners are those
    of the batch in reverse order. The defaults are those of DeiT (Touvron et al., 2021, table 9).

    A rectangle brings its superpixels along: they end at its border and so does what lay below.
    Each image's labels are then counted anew without gaps, so an image gets as many tokens as it
    shows superpixels, a few dozen more than before; the others of the batch are padded, which
    `model.mask_empty` keeps out of everything. A blend keeps the superpixels of the first image.

    Args:
        mixup: Both parameters of the beta distribution of the blend's weight; 0 for no mixup.
        cutmix: Those of the weight that the size of the rectangle follows; 0 for no cutmix.
        probability: Probability that a batch is mixed at all.
        switch_probability: Probability of cutmix rather than mixup, if there are both.
        superpixels_follow: Paste superpixels, too. False is the official release: they stay those
            of the first image and cross the border of the rectangle.

    Raises:
        UserError: Neither mixup nor cutmix.
    """

    def __init__(
        self,
        mixup: Alpha = 0.8,
        cutmix: Alpha = 1.0,
        probability: Probability = 1.0,
        switch_probability: Probability = 0.5,
        superpixels_follow: bool = True,
    ) -> None:
        if mixup == cutmix == 0:
            raise UserError("mixup=0 and cutmix=0 leave nothing to mix; set task.mixing=null")
        self.draws = Mixup(mixup, cutmix, None, probability, switch_probability)
        self.superpixels_follow = superpixels_follow

    def __call__(self, images: Tensor, superpixels: Tensor) -> tuple[Tensor, Tensor, float]:
        """Mix a batch; the arguments stay as they are.

        Args:
            images: Normalised images, float (B, 3, H, W).
            superpixels: Labels from 0, int64 (B, H, W).

        Returns:
            Images and superpixels of the same shapes, and the share of each image that is its own,
            0..1: the rest is its partner's, image B - 1 - i of image i.
        """
        with seeded_from_torch():
            share, cut = self.draws._params_per_batch()
            if cut:
                (top, bottom, left, right), share = cutmix_bbox_and_lam(images.shape, share)
        if share == 1:
            return images, superpixels, 1.0
        if not cut:
            return torch.lerp(images.flip(0), images, share), superpixels, float(share)
        box = (..., slice(top, bottom), slice(left, right))
        mixed = images.clone()
        mixed[box] = images.flip(0)[box]
        if self.superpixels_follow:
            offset = int(superpixels.max()) + 1
            labels = superpixels.clone()
            labels[box] = superpixels.flip(0)[box] + offset
            superpixels = dense(labels, 2 * offset)
        return mixed, superpixels, float(share)


def dense(labels: Tensor, count: int) -> Tensor:
    """Number the labels of each image from 0 without gaps, keeping their order.

    Args:
        labels: Labels 0..count-1, int64 (B, H, W).
        count: Number of labels there may be.
    """
    flat = labels.flatten(1)
    present = torch.zeros(len(flat), count, dtype=torch.int64, device=flat.device)
    present.scatter_(1, flat, 1)
    return (present.cumsum(1) - 1).gather(1, flat).view_as(labels)
