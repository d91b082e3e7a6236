"""Farthest tokens against a loop in NumPy."""

import pytest
import torch
from support.farthest import KINDS, images_of, require_definition
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from cast_exp.ops import farthest_tokens
from cast_exp.ops.farthest_tokens import by_cpu, by_differences

OPERATOR = torch.ops.cast_exp.farthest_tokens.default


class Chooser(torch.nn.Module):
    def __init__(self, count, masked):
        super().__init__()
        self.options = count, masked

    def forward(self, tokens, padding):
        count, masked = self.options
        return farthest_tokens(tokens, count, padding, masked)


def exported_as(run):
    return lambda tokens, count, padding, masked: run(tokens, padding)


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


def test_memory_may_be_laid_out_in_any_way():
    tokens, padding = images_of("plain", 2, 9, 4, torch.float32)
    strided = tokens.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    apart = padding.T.contiguous().T
    expected = farthest_tokens(tokens, 3, padding)
    assert torch.equal(farthest_tokens(strided, 3, apart), expected)


@pytest.mark.parametrize("masked", [True, False])
def test_an_image_without_tokens_gets_the_first(masked):
    tokens, padding = torch.randn(1, 4, 3), torch.ones(1, 4, dtype=torch.bool)
    for compute in (farthest_tokens, by_differences):
        assert compute(tokens, 3, padding, masked).tolist() == [[0, 0, 0]]


def test_is_an_operator_to_torch():
    tokens, padding = images_of("plain", 2, 9, 4, torch.float32)
    for masked in (True, False):
        torch.library.opcheck(OPERATOR, (tokens, 3, padding, masked))


def test_compiles_as_one_operator():
    tokens, padding = images_of("plain", 2, 9, 4, torch.float32)
    expected = farthest_tokens(tokens, 3, padding)
    compiled = torch.compile(farthest_tokens, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(tokens.requires_grad_(), 3, padding), expected)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compiled(tokens, 3, padding), expected)


@pytest.mark.parametrize("masked", [True, False])
def test_exports_as_standard_operators_for_any_batch(masked):
    batch = torch.export.Dim("batch")
    tokens, padding = images_of("plain", 2, 9, 4, torch.float32)
    shapes = {"tokens": {0: batch}, "padding": {0: batch}}
    module = Chooser(4, masked)
    exported = torch.export.export(module, (tokens, padding), dynamic_shapes=shapes, strict=False)
    operators = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert not [name for name in operators if "cast_exp" in name]
    for kind in (kind for kind, also in KINDS if also == masked):
        require_definition(exported_as(exported.module()), kind, 7, 9, 4, 4, torch.float32, masked)


def test_an_exported_graph_does_not_grow_with_the_number_of_choices():
    pytest.importorskip("torch", minversion="2.15", reason="older ones export a step for each")
    given = images_of("plain", 2, 9, 4, torch.float32)
    graphs = [torch.export.export(Chooser(n, True), given, strict=False).graph for n in (2, 8)]
    assert len(graphs[0].nodes) == len(graphs[1].nodes)


@pytest.mark.parametrize("masked", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_onnxruntime_chooses_the_same(masked, tmp_path):
    pytest.importorskip("torch", minversion="2.15", reason="not tried with older exporters to ONNX")
    pytest.importorskip("onnxscript", reason="needs the extra `onnx`")
    onnxruntime = pytest.importorskip("onnxruntime")
    tokens, padding = images_of("plain", 2, 9, 4, torch.float32)
    shapes = {"tokens": {0: torch.export.Dim("batch")}, "padding": {0: torch.export.Dim("batch")}}
    path = tmp_path / "chooser.onnx"
    chooser = Chooser(4, masked).eval()
    torch.onnx.export(chooser, (tokens, padding), path, dynamic_shapes=shapes, dynamo=True)
    session = onnxruntime.InferenceSession(path)

    def run(tokens, padding):
        inputs = {"tokens": tokens.numpy(), "padding": padding.numpy()}
        return torch.from_numpy(session.run(None, inputs)[0])

    for kind in (kind for kind, also in KINDS if also == masked):
        require_definition(exported_as(run), kind, 7, 9, 4, 4, torch.float32, masked)


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
