"""Whole models on the CPU: CAST against ViT at 224 pixels, and against dense upsampling at 512.

python benchmarks/model.py

With OMP_NUM_THREADS=1 these are times of the CPU, which other load on the machine disturbs least.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import timm
import torch
from rich.console import Console
from rich.table import Table
from timing import cpu_clock, fastest
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from cast_exp.models import CAST, create_model
from cast_exp.models.tokens import Reading, SuperpixelTokens
from cast_exp.ops import Superpixels
from cast_exp.run.precision import fast_precision


class DenseTokens(SuperpixelTokens):
    """The obvious way for one image: upsample features and position codes, average the pixels."""

    segments: Tensor
    """Superpixel of each pixel of the image, int64 (H, W)."""

    def forward(self, images: Tensor, reading: Reading, views: int = 1) -> Tensor:
        """Compute the tokens; see `SuperpixelTokens.forward`."""
        count, size = reading.empty.size(1), self.segments.shape
        stem = self.stem(images)
        features = self.stem.project(stem.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        features = F.interpolate(features, size, mode="bilinear", align_corners=False)
        codes = F.interpolate(self.positions.grid, size, mode="bicubic", align_corners=False)
        pixels = (features + codes).permute(0, 2, 3, 1).flatten(1, 2)
        segments = self.segments.flatten()
        sums = pixels.new_zeros(count, pixels.size(-1)).index_add_(0, segments, pixels[0])
        sizes = segments.bincount(minlength=count)
        return (sums / sizes.clamp(min=1)[:, None])[None]


def squares(side: int, block: int, batch: int) -> Tensor:
    """Square superpixels, int64 (batch, side, side)."""
    index = torch.arange(side) // block
    return (index[:, None] * (side // block) + index).expand(batch, -1, -1).contiguous()


def gigamacs(forward: Callable[[], object]) -> float:
    """Multiply-accumulates of a forward pass, in units of 1e9, counted as flops / 2."""
    with FlopCounterMode(display=False) as counter:
        forward()
    return float(counter.get_total_flops() / 2e9)


def compare(column: str, candidates: dict[str, Callable[[], Any]], batch: int) -> Table:
    """A table of candidates in each precision that the CPU is fast in."""
    table = Table(column, "GMAC", "float32, ms", "of the first")
    precisions = [False]
    if fast_precision("cpu") == "bf16-mixed":
        table.add_column("bfloat16, ms")
        table.add_column("of the first")
        precisions.append(True)
    cells = {name: [f"{gigamacs(run) / batch:.2f}"] for name, run in candidates.items()}
    for half in precisions:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            times = fastest(candidates, clock=cpu_clock)
        first = next(iter(times.values()))
        for name, seconds in times.items():
            cells[name] += [f"{1e3 * seconds:.0f}", f"{seconds / first:.2f}"]
    for name, row in cells.items():
        table.add_row(name, *row)
    return table


@torch.inference_mode()
def main() -> None:
    torch.manual_seed(0)
    console = Console(width=120)
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")

    cast = create_model("cast_small").eval()
    vit = timm.create_model("vit_small_patch16_224").eval()
    images, superpixels = torch.randn(8, 3, 224, 224), Superpixels.of(squares(224, 16, 8), 196)
    full = superpixels._replace(full=True)
    candidates: dict[str, Callable[[], Any]] = {
        "ViT-S/16 (timm)": lambda: vit(images),
        "CAST-S, 196 superpixels": lambda: cast(images, superpixels, last_grouping=False),
        "the same, nothing masked": lambda: cast(images, full, last_grouping=False),
    }
    console.print(compare("224 pixels, batch 8", candidates, 8))

    pooled = create_model("cast_small", fusion=True, sampling="interpolated").eval()
    dense = deepcopy(pooled)
    photo, maps = torch.randn(1, 3, 512, 512), squares(512, 16, 1)
    assert isinstance(dense, CAST)
    dense.tokens.__class__ = DenseTokens
    dense.tokens.segments = maps[0]
    difference = (pooled(photo, maps).fused - dense(photo, maps).fused).abs().max()
    candidates = {
        "upsampled densely": lambda: dense(photo, maps, last_grouping=False),
        "pooled interpolation": lambda: pooled(photo, maps, last_grouping=False),
    }
    console.print(compare("512 pixels, 1024 superpixels, CAST-S", candidates, 1))
    console.print(f"largest difference of a fused feature: {difference:.1e}")


if __name__ == "__main__":
    main()
