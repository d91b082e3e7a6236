"""The Triton kernels of SLIC's clustering against the code in torch."""

import pytest
import torch
from support.drawing import batch, shapes
from support.kernels import Interpreted, compile_kernel, leave_out
from support.waits import Waits

from cast_exp.errors import UserError
from cast_exp.superpixels import Slic
from cast_exp.superpixels.slic import cluster, rgb_to_lab

pytest.importorskip("triton")

from cast_exp.superpixels import connectivity_kernel, slic_kernel
from cast_exp.superpixels.slic_kernel import cluster_by_kernel, slic_by_kernel


@pytest.mark.parametrize(
    ("size", "side", "compactness", "iterations"),
    [
        ((24, 19), 5, 10, 3),
        ((24, 19), 5, 0.5, 2),  # clusters that lose all of their pixels, and far ones
        ((9, 33), 17, 40, 1),  # a square is more pixels than a program takes at once
        ((5, 4), 1, 10, 1),
        ((1, 1), 1, 10, 0),
        pytest.param((64, 48), 8, 10, 10, marks=pytest.mark.slow),
    ],
)
def test_interpreted_labels_are_those_of_torch(
    interpreted: Interpreted,
    size: tuple[int, int],
    side: int,
    compactness: float,
    iterations: int,
) -> None:
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    images = torch.cat([batch(shapes(*size)[0]), noise])
    images = images.to(memory_format=torch.channels_last)
    labels, colours = interpreted(cluster_by_kernel, images, side, float(compactness), iterations)
    expected = rgb_to_lab(images)
    assert (colours - expected).abs().max() < 2e-4
    assert torch.equal(labels, cluster(expected, side, compactness, iterations))


@pytest.mark.parametrize(
    "ones", [(), pytest.param(("rows", "columns", "side"), marks=pytest.mark.slow)]
)
@pytest.mark.usefixtures("triton_cache")
def test_kernels_compile_without_a_gpu(ones: tuple[str, ...]) -> None:
    """Also with numbers that are 1, which Triton makes constants of."""
    pointers = dict.fromkeys(("images", "colours", "means", "sums"), "fp32") | {"labels": "i64"}
    for name, block in (("_start", 256), ("_add", 64), ("_update", 32), ("_label", 64)):
        kernel = getattr(slic_kernel, name)
        constants = {"BLOCK": block} | dict.fromkeys(ones, 1)
        compile_kernel(kernel, pointers, constants, num_warps=1, enable_fp_fusion=False)


def test_the_number_of_launches_is_fixed_and_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    clustering = leave_out(monkeypatch, slic_kernel)
    merging = leave_out(monkeypatch, connectivity_kernel)
    counts = []
    for number in (1, 8):
        with Waits() as waits:
            slic_by_kernel(torch.rand(number, 3, 60, 40), 5, 10.0, 4)
        assert not waits.found
        counts.append(len(clustering) + len(merging))
    assert clustering[:10] == ["_start", *["_add", "_update"] * 4, "_label"]
    assert counts[1] == 2 * counts[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_does_not_wait_and_gives_the_labels_of_torch() -> None:
    images = batch(*(shapes(224, 224, seed)[0] for seed in range(8)))
    method, there = Slic(), images.cuda()
    with pytest.raises(UserError, match=r"0\.\.1"):
        method(2 * there)
    method(there)  # compiles the kernels, and looks at the range
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = method(there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (found.cpu() == method(images)).float().mean() > 0.98
    labels, colours = cluster_by_kernel(there, 16, 10.0, 10)
    assert (colours.cpu() - rgb_to_lab(images)).abs().max() < 1e-2
    assert (labels.cpu() == cluster(rgb_to_lab(images), 16, 10.0, 10)).float().mean() > 0.995
