"""The count of arithmetic against formulas and the official release."""

import pytest
import torch

from cast_exp.models import create_model
from cast_exp.models.flops import FlopCount, peak_tflops
from cast_exp.superpixels import Grid

BLOCK = 12  # squares of the width in the weights of a transformer block


def linear_macs(tokens, dim):
    """Of a block: its four linear layers, and scores and sums of its attention."""
    return BLOCK * dim * dim * tokens + 2 * tokens * tokens * dim


@torch.inference_mode()
@pytest.mark.parametrize(("name", "gmacs"), [("vit_small", 4.60), ("vit_base", 17.70)])
def test_a_vit_costs_what_the_official_release_counts(name, gmacs):
    model = create_model(name).eval()
    images = torch.rand(1, 3, 224, 224)
    count = FlopCount(model, images, Grid(196)(images))
    assert count.total / 2e9 == pytest.approx(gmacs, abs=0.005)
    assert count.of(model.blocks) == 2 * 11 * linear_macs(197, model.dim)


@torch.inference_mode()
@pytest.mark.parametrize(("name", "gmacs"), [("cast_small", 3.14), ("cast_base", 12.21)])
def test_a_cast_costs_what_the_official_release_counts_but_for_the_projection(name, gmacs):
    model = create_model(name).eval()
    images = torch.rand(1, 3, 224, 224)
    count = FlopCount(model, images, Grid(196)(images), last_grouping=False)
    saved = (28 * 28 - 196) * model.dim**2
    assert (count.total / 2 + saved) / 1e9 == pytest.approx(gmacs, rel=0.01)
    tokens = (197, 65, 33, 17)
    blocks = sum(
        depth * linear_macs(n, model.dim) for depth, n in zip((3, 3, 3, 2), tokens, strict=True)
    )
    assert count.of(model.stages) == 2 * blocks


def test_multiply_adds_are_two_operations() -> None:
    layers = torch.nn.ModuleDict({"a": torch.nn.Linear(5, 7), "b": torch.nn.Linear(7, 3)})

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, images: torch.Tensor, superpixels: torch.Tensor) -> torch.Tensor:
            return self.layers["b"](self.layers["a"](images))

    count = FlopCount(Both(), torch.rand(4, 5), torch.zeros(4, 1))
    assert count.of(layers["a"]) == 2 * 4 * 5 * 7
    assert count.of(layers) == count.total == 2 * 4 * (5 * 7 + 7 * 3)  # no forward of its own


@pytest.mark.parametrize(
    ("name", "precision", "tf32", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", "bf16-mixed", "highest", 312),
        ("NVIDIA A100-SXM4-80GB", "32-true", "high", 156),
        ("NVIDIA A100-SXM4-80GB", "32-true", "highest", None),
        ("NVIDIA A100-SXM4-80GB", "64-true", "high", None),
        ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", "bf16-mixed", "high", None),
        ("NVIDIA H200", "16-mixed", "high", 989),
        ("NVIDIA L4", "bf16-true", "high", 121),
        ("NVIDIA L40S", "bf16-true", "high", 362),
        ("Some GPU", "bf16-mixed", "high", None),
    ],
)
def test_peaks_are_those_of_dense_matrices(name, precision, tf32, peak, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: tf32)
    assert peak_tflops(torch.device("cuda", 0), precision) == peak
    assert peak_tflops(torch.device("cpu"), precision) is None
