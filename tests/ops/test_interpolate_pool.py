import pytest
import torch
from torch.nn import functional as F

from cast_exp.ops import pooled_interpolation, segment_mean


def dense(features, segments, count, mode):
    size = segments.shape[-2:]
    pixels = F.interpolate(features, size, mode=mode, align_corners=False)
    return segment_mean(pixels.permute(0, 2, 3, 1).flatten(1, 2), segments.flatten(1), count)


def blobs(batch, height, width, count):
    points = torch.rand(count, 2) * torch.tensor([height, width])
    pixels = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    nearest = torch.cdist(pixels, points).argmin(1).view(1, height, width)
    return torch.cat([nearest.roll(i, -1) for i in range(batch)])


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("grid", "size"),
    [
        ((8, 8), (64, 64)),
        ((5, 7), (33, 90)),  # no whole ratio
        ((1, 1), (4, 5)),
        ((2, 3), (3, 2)),
        ((6, 6), (6, 6)),  # a plain segment mean
        ((12, 9), (5, 4)),  # smaller than the grid
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_equals_the_dense_way(mode, grid, size, batch):
    features = torch.randn(batch, 11, *grid, dtype=torch.float64)
    segments = blobs(batch, *size, 7)
    ours, sizes = pooled_interpolation(features, segments, 9, mode)
    theirs, counts = dense(features, segments, 9, mode)
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    assert torch.equal(sizes, counts)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_noise_segments_and_float32(mode):
    features = torch.randn(2, 16, 16, 16)
    segments = torch.randint(50, (2, 100, 100))
    ours, _ = pooled_interpolation(features, segments, 50, mode)
    theirs, _ = dense(features, segments, 50, mode)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_gradient(mode):
    segments = blobs(2, 9, 13, 4)
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: pooled_interpolation(x, segments, 5, mode)[0], features
    )


def test_half_precision_input_is_summed_in_float32():
    features = torch.randn(1, 8, 8, 8).bfloat16()
    segments = blobs(1, 64, 64, 3)
    with torch.autocast("cpu", torch.bfloat16):
        ours, _ = pooled_interpolation(features, segments, 3)
    theirs, _ = dense(features.float(), segments, 3, "bilinear")
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
