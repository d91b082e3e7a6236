"""The Triton kernels that merge fragments against the code in torch."""

import numpy as np
import pytest
import torch
from support.kernels import Interpreted, compile_kernel

from cast_exp.superpixels.connectivity import LEAST_SHARE, STEPS, merge_fragments

pytest.importorskip("triton")

import triton

from cast_exp.superpixels import connectivity_kernel
from cast_exp.superpixels.connectivity_kernel import merge_by_kernel

old = tuple(map(int, triton.__version__.split(".")[:2])) < (3, 3)
interpretable = pytest.mark.skipif(old, reason="the interpreter of this Triton has no scans")


@interpretable
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (13, 1), (15, 22), (30, 41)])
@pytest.mark.parametrize("kinds", [1, 2, 30])
def test_interpreted_labels_are_those_of_torch(
    interpreted: Interpreted, size: tuple[int, int], kinds: int
) -> None:
    random = np.random.default_rng(kinds)
    coarse = random.integers(0, kinds, (2, -(-size[0] // 5), -(-size[1] // 5)))
    labels = coarse.repeat(5, 1).repeat(5, 2)[:, : size[0], : size[1]]
    speckled = random.random(labels.shape) < 0.2
    given = torch.from_numpy(np.where(speckled, random.integers(0, kinds, labels.shape), labels))
    colours = torch.from_numpy(random.integers(0, 256, (2, 3, *size))).float() / 2
    found = interpreted(merge_by_kernel, given, colours, kinds)
    assert torch.equal(found, merge_fragments(given, colours))


@interpretable
def test_long_arms_wound_into_each_other(interpreted: Interpreted) -> None:
    labels = torch.zeros(1, 25, 25, dtype=torch.int64)
    for ring in range(0, 12, 4):
        labels[0, ring : 25 - ring, ring : 25 - ring] = 1
        labels[0, ring + 2 : 23 - ring, ring + 2 : 23 - ring] = 0
        labels[0, ring + 2 : ring + 4, ring + 4] = 1
    colours = torch.rand(1, 3, 25, 25, generator=torch.Generator().manual_seed(0)) * 100
    found = interpreted(merge_by_kernel, labels, colours, 2)
    assert torch.equal(found, merge_fragments(labels, colours))


@pytest.mark.parametrize("ones", [(), pytest.param(("width", "height"), marks=pytest.mark.slow)])
@pytest.mark.usefixtures("triton_cache")
def test_kernels_compile_without_a_gpu(ones: tuple[str, ...]) -> None:
    """Also with numbers that are 1, which Triton makes constants of."""
    wide, narrow = ("labels", "sums", "largest", "best"), ("parent", "size", "main", "mains")
    pointers = dict.fromkeys(wide, "i64") | dict.fromkeys((*narrow, "before", "now"), "i32")
    constants = {"ROW": 256, "BLOCK": 512, "STEPS": STEPS, "SHARE": LEAST_SHARE}
    for name in ("_runs", "_link", "_measure", "_compare", "_mark", "_choose", "_hook", "_absorb"):
        kernel = getattr(connectivity_kernel, name)
        constants |= dict.fromkeys(ones, 1)
        compile_kernel(kernel, pointers | {"colours": "fp32"}, constants, enable_fp_fusion=False)
