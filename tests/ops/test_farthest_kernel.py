"""The Triton kernel of farthest tokens: interpreted, compiled, and on a GPU if there is one."""

from functools import partial

import pytest
import torch
from support.farthest import KINDS, images_of, require_definition
from support.kernels import compile_kernel

from cast_exp.ops import farthest_tokens

pytest.importorskip("triton")

from cast_exp.ops import farthest_kernel
from cast_exp.ops.farthest_kernel import by_kernel


@pytest.mark.parametrize(("kind", "masked"), KINDS)
@pytest.mark.parametrize(
    ("batch", "number", "width", "count", "dtype"),
    [
        (2, 3, 1, 4, torch.float32),
        (3, 37, 5, 3, torch.bfloat16),
        pytest.param(8, 12, 3, 12, torch.float32, marks=pytest.mark.slow),
        pytest.param(1, 150, 260, 12, torch.float16, marks=pytest.mark.slow),
    ],
)
def test_kernel_in_the_interpreter(interpreted, kind, masked, batch, number, width, count, dtype):
    require_definition(
        partial(interpreted, by_kernel), kind, batch, number, width, count, dtype, masked
    )


@pytest.mark.parametrize(("tokens", "compared"), [("fp32", "fp32"), ("bf16", "fp64")])
@pytest.mark.usefixtures("triton_cache")
def test_kernel_compiles_without_a_gpu(tokens, compared):
    pointers = {"tokens": tokens, "padding": "u8", "mean": "fp64", "nearest": compared}
    constants = {"TAKEN": -1.0, "ROWS": 32, "COLUMNS": 128}
    compile_kernel(
        farthest_kernel._choose, pointers | {"chosen": "i64"}, constants, enable_fp_fusion=False
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_takes_many_wide_tokens_and_does_not_wait():
    torch.manual_seed(0)
    tokens, padding = images_of("plain", 2, 4096, 1024, torch.float32)
    on_device = tokens.cuda(), 64, padding.cuda(), True
    expected = farthest_tokens(tokens, 64, padding)
    farthest_tokens(*on_device)  # compiles the kernel
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = farthest_tokens(*on_device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found.cpu(), expected)


def test_memory_may_be_laid_out_in_any_way(interpreted):
    tokens, padding = images_of("plain", 2, 9, 4, torch.float32)
    strided = tokens.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    apart = padding.T.contiguous().T
    assert torch.equal(
        interpreted(by_kernel, strided, 3, apart, True), farthest_tokens(tokens, 3, padding)
    )


@pytest.mark.parametrize("masked", [True, False])
def test_an_image_without_tokens_gets_the_first(interpreted, masked):
    tokens, padding = torch.randn(1, 4, 3), torch.ones(1, 4, dtype=torch.bool)
    assert interpreted(by_kernel, tokens, 3, padding, masked).tolist() == [[0, 0, 0]]
