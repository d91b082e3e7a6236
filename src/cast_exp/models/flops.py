"""Counts the arithmetic of a backbone, and knows how much of it a GPU can do."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cast_exp.ops import Superpixels

# Products of dense 16-bit matrices, from NVIDIA's data sheets; TF32 reaches half. Lightning's table
# counts sparse matrices for some, does not find an H200 and takes an L40S for an L4.
PEAK_TFLOPS = {
    "NVIDIA A10": 125,
    "NVIDIA A30": 165,
    "NVIDIA A40": 149.7,
    "NVIDIA A100 80GB PCIe": 312,
    "NVIDIA A100-PCIE-40GB": 312,
    "NVIDIA A100-SXM4-40GB": 312,
    "NVIDIA A100-SXM4-80GB": 312,
    "NVIDIA B200": 2250,
    "NVIDIA GeForce RTX 3090": 71,
    "NVIDIA GeForce RTX 4090": 165.2,
    "NVIDIA H100 80GB HBM3": 989,
    "NVIDIA H100 NVL": 835,
    "NVIDIA H100 PCIe": 756,
    "NVIDIA H200": 989,
    "NVIDIA L4": 121,
    "NVIDIA L40S": 362,
    "NVIDIA RTX A6000": 154.8,
}


def peak_tflops(device: torch.device, precision: str) -> float | None:
    """Highest TFLOP/s of matrix products on a device.

    Args:
        device: Where they are computed.
        precision: What Lightning calls the precision, such as "bf16-mixed" or "32-true".

    Returns:
        The number, or None for a device or a precision (float32 without TF32, float64) that
        `PEAK_TFLOPS` does not have.
    """
    if device.type != "cuda":
        return None
    peak = PEAK_TFLOPS.get(torch.cuda.get_device_name(device))
    if peak is None or "16" in precision:
        return peak
    tf32 = "32" in precision and torch.get_float32_matmul_precision() != "highest"
    return peak / 2 if tf32 else None


class FlopCount:
    """Floating point operations of one forward pass of a backbone.

    Counted are convolutions, matrix products and attention, where one multiply-add is two
    operations; not norms, activations, averages, and the choice of segment seeds. A copy on the
    CPU is counted: elsewhere averages are products of matrices.

    Args:
        model: Backbone, in evaluation mode.
        images: Images, float (B, 3, H, W).
        superpixels: Their superpixels, or labels 0..N-1, int64 (B, H, W).
        options: Other arguments of `Backbone.forward`.

    Attributes:
        total: Operations of all of it, for the whole batch.
    """

    def __init__(
        self, model: nn.Module, images: Tensor, superpixels: Superpixels | Tensor, **options: Any
    ) -> None:
        # The plain implementation of attention is the one that every release of torch counts.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            deepcopy(model).cpu()(images.cpu(), superpixels.to("cpu"), **options)
        counts = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
        self.total: int = counts["Global"]
        root = type(model).__name__
        self._counts: dict[nn.Module, int] = {
            module: counts[f"{root}.{name}"]
            for name, module in model.named_modules()
            if f"{root}.{name}" in counts
        }

    def of(self, module: nn.Module) -> int:
        """Operations inside the `forward` of a part; if it has none, those of its children."""
        if module in self._counts:
            return self._counts[module]
        return sum(self.of(child) for child in module.children())
