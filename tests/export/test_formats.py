"""What exported files give, against the models they are of."""

import json
import sys

import numpy as np
import pytest
import torch
from support.commands import ROOT
from support.exported import MODELS, SIDE, inputs, made
from support.golden import official_state, read
from support.official import build_official
from torch.utils._python_dispatch import TorchDispatchMode

from cast_exp.errors import UserError
from cast_exp.export import FORMATS, Exported, formats
from cast_exp.export.exported import difference
from cast_exp.models import Pooling
from cast_exp.ops import farthest_tokens


@pytest.fixture(params=FORMATS)
def kind(request):
    if request.param == "onnx":
        pytest.importorskip(
            "torch", minversion="2.15", reason="not tried with older exporters to ONNX"
        )
    for package in FORMATS[request.param].needs:
        pytest.importorskip(package, reason="needs the extra `onnx`")
    return FORMATS[request.param]


@torch.no_grad()
def require_same(model, path, kind) -> None:
    for batch in (1, 3):
        given = inputs(batch)
        assert difference(model(*given), kind.run(path, *given)) < 1e-4


class Operators(TorchDispatchMode):
    """Keeps the names of all operators."""

    def __init__(self) -> None:
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_what_is_traced_is_the_same_in_standard_operators(name, monkeypatch) -> None:
    model, given = made(name), inputs(2)
    expected = model(*given)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    # A loop in its place, as not even the exporter is there.
    monkeypatch.setattr(sys.modules[farthest_tokens.__module__], "_SCANS", False)
    with Operators() as operators:
        found = model(*given)
    assert difference(expected, found) < 1e-5
    assert not [name for name in operators.names if name.startswith("cast_exp")]


@pytest.mark.slow
def test_torch_needs_nothing_of_ours(tmp_path) -> None:
    model = made("cast")
    formats.write_torch(model, tmp_path / "model.pt2", model.metadata())
    require_same(model, tmp_path / "model.pt2", FORMATS["torch"])
    extra = {formats.METADATA: ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    assert json.loads(extra[formats.METADATA])["image_size"] == list(SIDE)
    assert not [node for node in program.graph.nodes if "cast_exp" in str(node.target)]
    assert str(ROOT).encode() not in (tmp_path / "model.pt2").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_the_same(name, kind, tmp_path) -> None:
    model = made(name)
    kind.write(model, tmp_path / "model", model.metadata())
    require_same(model, tmp_path / "model", kind)


@pytest.mark.slow
def test_official_weights_give_the_golden_outputs(kind, tmp_path) -> None:
    config, arrays = read("tiny_classify")
    backbone = build_official(
        official_state(config, sincos=True),
        heads=config["config"]["heads"],
        pooling=Pooling(config["config"]["clusters"]),
        mask_empty=False,
    )
    superpixels = torch.from_numpy(arrays["superpixels"]).long()
    images = torch.from_numpy(arrays["image"]) * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    images = images + torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    model = Exported(backbone, images.shape[-2:], int(superpixels.max()) + 1)
    kind.write(model, tmp_path / "model", model.metadata())
    found = kind.run(tmp_path / "model", images, superpixels)
    np.testing.assert_allclose(found["cls"], arrays["cls"], atol=1e-4)
    labels = np.arange(found["labels_1"].size(1))[None].repeat(len(images), 0)
    for level in range(1, len(config["config"]["clusters"]) + 1):
        np.testing.assert_allclose(found[f"tokens_{level - 1}"], arrays[f"block{level}"], atol=1e-4)
        labels = np.take_along_axis(arrays[f"logit{level}"].argmax(-1), labels, 1)
        assert (found[f"labels_{level}"].numpy() == labels).all()


def test_a_missing_package_is_told(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    message = r"needs onnxscript; install it: pip install 'cast-exp\[onnx\]', or use --format torch"
    with pytest.raises(UserError, match=message):
        FORMATS["onnx"].require_packages()
    FORMATS["torch"].require_packages()
