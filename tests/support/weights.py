"""Both kinds of pooling weights, for a map of 16 x 24 pixels and a grid of 2 x 3 cells."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from cast_exp.ops import PoolingWeights, Superpixels, interpolated_weights, nearest_weights

Make = Callable[..., PoolingWeights]


def nearest(superpixels: Superpixels, dense: bool = False) -> PoolingWeights:
    return nearest_weights(superpixels, 8, 2, 3, dense=dense)


def bilinear(superpixels: Superpixels, dense: bool = False) -> PoolingWeights:
    return interpolated_weights(superpixels, (2, 3), "bilinear", dense=dense)


def bicubic(superpixels: Superpixels, dense: bool = False) -> PoolingWeights:
    return interpolated_weights(superpixels, (2, 3), "bicubic", dense=dense)


KINDS = (nearest, bilinear, bicubic)


def blobs(batch: int, height: int, width: int, count: int) -> Tensor:
    """Superpixels of random shape, others in each image, int64 (batch, height, width)."""
    points = torch.rand(count, 2) * torch.tensor([height, width])
    pixels = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    nearest = torch.cdist(pixels, points).argmin(1).view(1, height, width)
    return torch.cat([nearest.roll(i, -1) for i in range(batch)])


def leaf(values: Tensor, device: str = "cpu") -> Tensor:
    """A copy on a device that gradients are kept for."""
    return values.detach().to(device, copy=True).requires_grad_()


def step(make: Make, labels: Tensor, features: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Means of features and of codes that all images share, with weights that are made once."""
    weights = make(Superpixels.of(labels, 12))
    return weights.mean(features), weights.mean(codes)


def bits_of_a_step(make: Make, device: str = "cpu", compiled: bool = False) -> list[Tensor]:
    """Means and gradients, on the CPU, of a step on a device."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(11, (2, 16, 24), generator=generator).to(device)
    features = leaf(torch.randn(2, 6, 4, generator=generator), device)
    codes = leaf(torch.randn(6, 4, generator=generator), device)
    run = partial(step, make)
    if compiled:
        run = torch.compile(run, fullgraph=True, backend="aot_eager")
    means = run(labels, features, codes)
    sum(x.square().sum() for x in means).backward()
    return [x.detach().cpu() for x in (*means, features.grad, codes.grad)]
