"""Farthest tokens against a loop in NumPy, in every way they are computed."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from cast_exp.ops import farthest_tokens
from cast_exp.ops.farthest_tokens import by_cpu, by_differences

OPERATOR = torch.ops.cast_exp.farthest_tokens.default


def one_by_one(tokens, count, padding, masked):
    """The definition, for one image."""
    points, padding = tokens.double().numpy(), padding.numpy()
    compared = np.float32 if masked else np.float64
    free = {i for i in range(len(points)) if not padding[i]}
    chosen, latest = [], points[~padding].mean(0)
    nearest = np.full(len(points), np.inf, compared)
    while len(chosen) < count:
        distances = np.square(points - latest).sum(1).astype(compared)
        nearest = np.minimum(nearest, distances)
        best = max(free, key=lambda i: (nearest[i], -i), default=0)
        if not masked and free and nearest[best] == 0:
            best, free = 0, set()
        if masked:
            free -= {best}
        chosen.append(best)
        latest = points[best] if free else latest
    return chosen


def images_of(kind, batch, number, width, dtype):
    padding = torch.rand(batch, number) < 0.3
    padding[torch.arange(batch), torch.randint(number, (batch,))] = False
    tokens = torch.randn(batch, number, width)
    if kind == "repeated":
        tokens = tokens[:, torch.randint(max(1, number // 3), (number,))]
    elif kind == "mirrored":
        tokens = 3.3 + torch.cat([tokens, -tokens], 1)[:, number // 2 :][:, :number]
    elif kind == "few values":  # whose mean is one too, so nothing is rounded
        tokens = tokens.round() * (~padding).sum(1)[:, None, None]
    return tokens.to(dtype).masked_fill(padding[..., None], torch.nan), padding


def require_definition(compute, kind, batch, number, width, count, dtype, masked):
    torch.manual_seed(number)
    tokens, padding = images_of(kind, batch, number, width, dtype)
    found = compute(tokens, count, padding, masked)
    assert (found.shape, found.dtype) == ((batch, count), torch.int64)
    for image in range(batch):
        expected = one_by_one(tokens[image], count, padding[image], masked)
        assert found[image].tolist() == expected, f"image {image}"


# Mirrored tokens are as far from the mean as each other but for rounding, which not masked decides.
KINDS = [(kind, True) for kind in ("plain", "repeated", "few values", "mirrored")]
KINDS += [(kind, False) for kind in ("plain", "repeated", "few values")]


def on_gpu(tokens, count, padding, masked):
    return farthest_tokens(tokens.cuda(), count, padding.cuda(), masked).cpu()


@pytest.mark.parametrize(
    "compute",
    [
        farthest_tokens,
        by_differences,
        pytest.param(
            on_gpu,
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
            ],
        ),
    ],
)
@pytest.mark.parametrize(
    ("batch", "number", "width", "count", "dtype"),
    [
        (20, 1, 3, 2, torch.float32),
        (50, 2, 1, 3, torch.float16),
        (200, 7, 2, 7, torch.float32),
        (200, 20, 5, 9, torch.bfloat16),
        (100, 40, 17, 12, torch.float64),
        (3, 197, 384, 64, torch.float32),
    ],
)
@pytest.mark.parametrize(("kind", "masked"), KINDS)
def test_definition(compute, kind, masked, batch, number, width, count, dtype):
    require_definition(compute, kind, batch, number, width, count, dtype, masked)


@pytest.fixture(scope="module")
def interpreted():
    """The kernel in Triton's interpreter, in a process that imports Triton anew to be in it."""
    pytest.importorskip("triton")
    from cast_exp.ops.farthest_kernel import by_kernel

    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            pool.submit(int).result()
        yield lambda *arguments: pool.submit(by_kernel, *arguments).result()


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
    require_definition(interpreted, kind, batch, number, width, count, dtype, masked)


@pytest.mark.parametrize(("tokens", "compared"), [("fp32", "fp32"), ("bf16", "fp64")])
def test_kernel_compiles_without_a_gpu(tmp_path, monkeypatch, tokens, compared):
    """The interpreter takes Python that the compiler does not."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget

    from cast_exp.ops.farthest_kernel import _choose

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    pointers = {"tokens": tokens, "padding": "u8", "mean": "fp64", "nearest": compared}
    pointers |= {"chosen": "i64"}
    constants = {"TAKEN": -1.0, "ROWS": 32, "COLUMNS": 128}
    signature = {
        name: "constexpr"
        if name in constants
        else f"*{pointers[name]}"
        if name in pointers
        else "i32"
        for name in _choose.arg_names
    }
    source = triton.compiler.ASTSource(_choose, signature, constants)
    options = {"enable_fp_fusion": False}
    assert triton.compile(source, GPUTarget("cuda", 90, 32), options).asm["cubin"]


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
    for compute in (farthest_tokens, interpreted):
        assert torch.equal(compute(strided, 3, apart, True), compute(tokens, 3, padding, True))


@pytest.mark.parametrize("masked", [True, False])
def test_an_image_without_tokens_gets_the_first(interpreted, masked):
    tokens, padding = torch.randn(1, 4, 3), torch.ones(1, 4, dtype=torch.bool)
    for compute in (farthest_tokens, by_differences, interpreted):
        assert compute(tokens, 3, padding, masked).tolist() == [[0, 0, 0]]


def test_is_an_operator_to_torch():
    tokens, padding = images_of("plain", 2, 9, 4, torch.float32)
    for masked in (True, False):
        torch.library.opcheck(OPERATOR, (tokens, 3, padding, masked))


def test_compiles_and_exports_as_one_operator():
    tokens, padding = images_of("plain", 2, 9, 4, torch.float32)
    expected = farthest_tokens(tokens, 3, padding)
    compiled = torch.compile(farthest_tokens, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(tokens.requires_grad_(), 3, padding), expected)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compiled(tokens, 3, padding), expected)

    class Module(torch.nn.Module):
        def forward(self, tokens, padding):
            return farthest_tokens(tokens, 3, padding)

    exported = torch.export.export(Module(), (tokens, padding))
    assert [node.target for node in exported.graph.nodes].count(OPERATOR) == 1
    assert torch.equal(exported.module()(tokens, padding), expected)


class Elsewhere(torch.Tensor):
    """Values on the CPU that say they are on another device, which has no float64."""

    @staticmethod
    def __new__(cls, values):
        if values.dtype == torch.float64:
            raise TypeError("the device has no float64")
        return torch.Tensor._make_wrapper_subclass(
            cls, values.shape, dtype=values.dtype, device="meta"
        )

    def __init__(self, values):
        self.values = values

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of the device")


class PretendDevice(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is OPERATOR:
            with self:
                return by_cpu(*args, **kwargs)
        inputs = pytree.tree_leaves((args, kwargs))
        elsewhere = any(isinstance(given, Elsewhere) for given in inputs)
        if "device" in kwargs:
            elsewhere = kwargs["device"].type == "meta"
            kwargs["device"] = torch.device("cpu")
        args, kwargs = pytree.tree_map_only(Elsewhere, lambda t: t.values, (args, kwargs))
        result = func(*args, **kwargs)
        return pytree.tree_map_only(torch.Tensor, Elsewhere, result) if elsewhere else result


def test_devices_without_float64_get_the_same_tokens():
    tokens, padding = images_of("few values", 2, 9, 4, torch.float32)
    expected = farthest_tokens(tokens, 3, padding)
    with PretendDevice():
        there = tokens.to("meta"), padding.to("meta")
        with pytest.raises(TypeError, match="no float64"):
            there[0].double()
        found = farthest_tokens(there[0], 3, there[1])
        assert found.device == there[0].device
        assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize(("number", "count"), [(5, 0), (0, 1)])
def test_impossible_requests(number, count):
    with pytest.raises(ValueError, match=f"cannot choose {count} of {number} tokens"):
        farthest_tokens(torch.randn(1, number, 2), count, torch.zeros(1, number, dtype=torch.bool))


@pytest.mark.parametrize("padding", [torch.zeros(2, 4, dtype=torch.bool), torch.zeros(2, 5)])
def test_padding_must_fit(padding):
    with pytest.raises(ValueError, match=r"padding must be bool \(2, 5\), not"):
        farthest_tokens(torch.randn(2, 5, 3), 2, padding)
