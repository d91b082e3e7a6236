"""Mixup and cutmix of a batch, with superpixels that follow what is pasted."""

from math import isqrt
from typing import Annotated

import torch
from pydantic import Field
from timm.data.mixup import Mixup, cutmix_bbox_and_lam
from torch import Tensor

from cast_exp.data.randomness import seeded_from_torch
from cast_exp.errors import UserError
from cast_exp.ops import Superpixels

Alpha = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Mixing:
    """Blends each image of a batch with a partner (mixup) or pastes a rectangle of it (cutmix).

    All is drawn by timm, once for a batch, and follows from torch's seed. The partners are those
    of the batch in reverse order. The defaults are those of DeiT (Touvron et al., 2021, table 9).

    A rectangle brings its superpixels along: they end at its border and so does what lay below.
    Each image's labels are then counted anew without gaps. There are a few dozen more than before;
    for N superpixels there is room for 6 sqrt(N) more, so that all batches have the same shapes
    (photographs need up to 5.5, their mean is 1.9). An image that needs more keeps the superpixels
    of the first one, as a blend does.

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

    def __call__(
        self, images: Tensor, superpixels: Superpixels
    ) -> tuple[Tensor, Superpixels, float]:
        """Mix a batch; the arguments stay as they are.

        Args:
            images: Normalised images, float (B, 3, H, W).
            superpixels: Their superpixels.

        Returns:
            Images and superpixels, and the share of each image that is its own, 0..1: the rest is
            its partner's, image B - 1 - i of image i.
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
            count = superpixels.count
            labels = superpixels.map.clone()
            labels[box] = superpixels.map.flip(0)[box] + count
            labels = dense(labels, 2 * count)
            room = count + 6 * isqrt(count)
            fits = labels.flatten(1).amax(1) < room
            labels = torch.where(fits[:, None, None], labels, superpixels.map)
            superpixels = Superpixels.of(labels, room, superpixels.whole)
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
