"""Means over superpixels from weights against loops over the superpixels."""

from functools import partial

import pytest
import torch
from support.waits import Waits
from support.weights import KINDS, bits_of_a_step, blobs, leaf

from cast_exp.ops import Superpixels, nearest_weights


def loop(features, superpixels, stride, columns, substitute):
    """Means (B, N, C) and empty labels, as the paper would say it."""
    cells = superpixels.map[:, ::stride, ::stride].flatten(1)
    rows = cells.size(1) // columns
    means = features.new_zeros(len(cells), superpixels.count, features.size(-1))
    empty = torch.zeros(means.shape[:2], dtype=torch.bool)
    for image, label in torch.cartesian_prod(*map(torch.arange, means.shape[:2])).tolist():
        inside = cells[image] == label
        pixels = (superpixels.map[image] == label).nonzero().double()
        if not inside.any() and substitute and len(pixels):
            row, column = (pixels.mean(0) / stride).round().int().tolist()
            inside[min(row, rows - 1) * columns + min(column, columns - 1)] = True
        if inside.any():
            means[image, label] = features[image, inside].mean(0)
        else:
            empty[image, label] = True
    return means, empty


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("substitute", [False, True])
@pytest.mark.parametrize(
    ("size", "stride", "count"),
    [((32, 32), 8, 5), ((30, 41), 8, 40), ((7, 5), 1, 6), ((4, 4), 8, 3)],
)
def test_nearest_means_are_those_of_a_loop(size, stride, count, substitute, dense):
    superpixels = Superpixels.of(blobs(3, *size, count), count + 2)  # two labels own no pixel
    rows, columns = (-(-n // stride) for n in size)
    features = torch.randn(3, rows * columns, 4, dtype=torch.float64)
    weights = nearest_weights(superpixels, stride, rows, columns, substitute, dense)
    means, empty = loop(features, superpixels, stride, columns, substitute)
    assert isinstance(weights.weights, torch.Tensor) == dense
    torch.testing.assert_close(weights.mean(features), means)
    assert torch.equal(weights.empty, empty)
    assert empty.sum() >= 6


def test_a_superpixel_at_the_edge_between_the_cells_takes_the_last_cell():
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    labels[0, 13:, 13:] = 1  # the centroid (14, 14) is nearer to a cell that would be the third
    features = torch.arange(4.0).view(1, 4, 1)
    for dense in (False, True):
        weights = nearest_weights(Superpixels.of(labels), 8, 2, 2, dense=dense)
        assert weights.mean(features)[0, 1] == 3


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("make", KINDS)
def test_gradient(make, dense):
    weights = make(Superpixels.of(blobs(2, 16, 24, 9), 10), dense)
    features = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(weights.mean, features)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("make", KINDS)
def test_features_that_all_images_share(make, dense):
    weights = make(Superpixels.of(blobs(3, 16, 24, 9), 10), dense)
    features = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    shared = [weights.mean(x) for x in (features, features[None], features.expand(3, -1, -1))]
    factor = torch.randn_like(shared[0])
    gradients = [torch.autograd.grad((x * factor).sum(), features)[0] for x in shared]
    for means, gradient in zip(shared[:2], gradients[:2], strict=True):
        torch.testing.assert_close(means, shared[2])
        torch.testing.assert_close(gradient, gradients[2])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("make", KINDS)
def test_precision(make, dense, dtype):
    weights = make(Superpixels.of(blobs(2, 16, 24, 9), 10), dense)
    features = leaf(torch.randn(2, 6, 32).to(dtype))
    with torch.autocast("cpu", torch.bfloat16):
        means = weights.mean(features)
        exact = weights.mean(features.float())
    assert means.dtype == exact.dtype == torch.float32
    torch.testing.assert_close(exact, weights.mean(features.double()).float())
    # Rounding of a sum, and of weights of the size of features up to about 4.
    error = 8 * torch.finfo(dtype).eps if dense else 1e-6
    torch.testing.assert_close(means, exact, atol=error, rtol=0)
    means.sum().backward()
    assert features.grad.dtype == dtype


def test_sums_of_half_precision_do_not_overflow():
    weights = nearest_weights(Superpixels.of(torch.zeros(1, 80, 80).long()), 1, 80, 80, dense=True)
    features = torch.full((1, 6400, 2), 1000, dtype=torch.float16)
    means = weights.mean(features)
    torch.testing.assert_close(means, torch.full_like(means, 1000), atol=0.5, rtol=0)


def test_whole_weights_are_exact_in_half_precision():
    weights = nearest_weights(Superpixels.of(blobs(2, 64, 64, 7)), 2, 32, 32, dense=True)
    assert torch.equal(weights.weights, weights.weights.bfloat16().float())


@pytest.mark.parametrize("make", KINDS)
def test_a_matrix_makes_no_host_wait(make):
    labels = blobs(2, 16, 24, 9)
    features = torch.randn(2, 6, 4, requires_grad=True)
    with Waits() as waits:
        superpixels = Superpixels.of(labels, 12)  # some own no cell, some no pixel
        weights = make(superpixels, dense=True)
        weights.mean(features).square().sum().backward()
    assert not waits.found
    assert (superpixels.sizes == 0).any()


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("make", KINDS)
# A number of terms that depends on the map: PyTorch 2.6 has to be asked, later versions do so.
@torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True)
def test_compiled_whole(make, dense):
    make = partial(make, dense=dense)
    compiled = bits_of_a_step(make, compiled=True)
    for found, expected in zip(compiled, bits_of_a_step(make), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_map_that_does_not_fit_the_grid_is_refused():
    superpixels = Superpixels.of(torch.zeros(1, 16, 17).long())
    with pytest.raises(ValueError, match=r"\(2, 3\) cells at stride 8, not \(2, 2\)"):
        nearest_weights(superpixels, 8, 2, 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("make", KINDS)
def test_gpu_equals_cpu_and_is_deterministic(make):
    cpu, cuda, again = (bits_of_a_step(make, device) for device in ("cpu", "cuda", "cuda"))
    for expected, found, repeated in zip(cpu, cuda, again, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(found, repeated)
