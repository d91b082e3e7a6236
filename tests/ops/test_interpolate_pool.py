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


def test_equal_sizes_are_a_segment_mean_to_the_bit():
    features, segments = torch.randn(2, 5, 9, 7), blobs(2, 9, 7, 6)
    ours, sizes = pooled_interpolation(features, segments, 8, "bicubic")
    means, counts = segment_mean(features.flatten(2).mT, segments.flatten(1), 8)
    assert torch.equal(ours, means)
    assert torch.equal(sizes, counts)


@pytest.mark.parametrize("size", [(20, 31), (4, 6)])
def test_one_grid_for_all_images(size):
    grid = torch.randn(1, 5, 4, 6, dtype=torch.float64, requires_grad=True)
    segments = torch.randint(7, (3, *size))
    expanded = grid.expand(3, -1, -1, -1)
    results = [pooled_interpolation(g, segments, 7, "bicubic")[0] for g in (grid, expanded)]
    torch.testing.assert_close(results[0], results[1])
    weight = torch.randn_like(results[0])
    gradients = [torch.autograd.grad((r * weight).sum(), grid)[0] for r in results]
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_out_of_range_is_refused(label):
    segments = torch.zeros(2, 8, 8, dtype=torch.long)
    segments[0, 3, 3] = label
    with pytest.raises(ValueError, match=r"0\.\.3"):
        pooled_interpolation(torch.randn(2, 3, 2, 2), segments, 4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_gpu_equals_cpu_and_is_deterministic(mode):
    features, segments = torch.randn(2, 8, 12, 12), blobs(2, 90, 70, 20)
    torch.use_deterministic_algorithms(True)
    try:
        results = []
        for device in ("cpu", "cuda", "cuda"):
            grid = features.to(device, copy=True).requires_grad_()
            means, sizes = pooled_interpolation(grid, segments.to(device), 20, mode)
            means.square().sum().backward()
            results.append([means.detach().cpu(), sizes.cpu(), grid.grad.cpu()])
    finally:
        torch.use_deterministic_algorithms(False)
    for cpu, cuda, again in zip(*results, strict=True):
        torch.testing.assert_close(cuda, cpu, atol=1e-5, rtol=1e-5)
        assert torch.equal(cuda, again)
