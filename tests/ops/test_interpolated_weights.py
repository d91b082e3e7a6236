"""Means over superpixels from weights against `F.interpolate` and loops over the superpixels."""

import pytest
import torch
from support.weights import blobs
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cast_exp.ops import Superpixels, interpolated_weights


def upsampled_means(features, superpixels, grid, mode):
    """Means (B, N, C) of features (B, h * w, C) that are upsampled to pixels."""
    maps, count = superpixels.map, superpixels.count
    features = features.mT.unflatten(2, grid)
    pixels = F.interpolate(features, maps.shape[1:], mode=mode, align_corners=False).movedim(1, -1)
    means = features.new_zeros(len(maps), count, features.size(1))
    for image, label in torch.cartesian_prod(torch.arange(len(maps)), torch.arange(count)).tolist():
        inside = maps[image] == label
        if inside.any():
            means[image, label] = pixels[image][inside].mean(0)
    return means


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("grid", "size"),
    [
        ((8, 8), (64, 64)),
        ((5, 7), (33, 90)),  # no whole ratio
        ((1, 1), (4, 5)),
        ((2, 3), (3, 2)),
        ((6, 6), (6, 6)),  # means over cells
        ((12, 9), (5, 4)),  # smaller than the grid
    ],
)
def test_means_are_those_of_upsampled_features(mode, grid, size, dense):
    features = torch.randn(3, grid[0] * grid[1], 11, dtype=torch.float64)
    superpixels = Superpixels.of(blobs(3, *size, 7), 9)
    weights = interpolated_weights(superpixels, grid, mode, dense)
    expected = upsampled_means(features, superpixels, grid, mode)
    assert isinstance(weights.weights, torch.Tensor) == dense
    torch.testing.assert_close(weights.mean(features), expected, atol=5e-6, rtol=0)
    assert torch.equal(weights.empty, superpixels.sizes == 0)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_superpixels_of_scattered_pixels(mode, dense):
    features = torch.randn(2, 256, 16)
    superpixels = Superpixels.of(torch.randint(50, (2, 100, 100)), 50)
    means = interpolated_weights(superpixels, (16, 16), mode, dense).mean(features)
    expected = upsampled_means(features.double(), superpixels, (16, 16), mode)
    torch.testing.assert_close(means, expected.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dense", [False, True])
def test_equal_sizes_are_means_over_cells(dense):
    labels = blobs(2, 9, 7, 6)
    weights = interpolated_weights(Superpixels.of(labels, 8), (9, 7), "bicubic", dense)
    inside = F.one_hot(labels.flatten(1), 8).mT
    expected = inside / inside.sum(-1, keepdim=True).clamp(min=1)
    assert torch.equal(weights.mean(torch.eye(63)), expected)


class NoFloat64(TorchDispatchMode):
    """A device without float64."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves((args, result)):
            assert not isinstance(value, torch.Tensor) or value.dtype != torch.float64, func
        return result


def test_a_matrix_needs_no_float64():
    superpixels = Superpixels.of(blobs(2, 33, 90, 7))
    with NoFloat64():
        interpolated_weights(superpixels, (5, 7), "bicubic", dense=True)


def test_terms_are_an_operator_that_can_be_traced():
    terms = torch.ops.cast_exp.interpolation_terms.default
    torch.library.opcheck(terms, (blobs(2, 33, 90, 7), 9, 5, 7, "bicubic"))
