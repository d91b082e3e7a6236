"""Whole models on the CPU: CAST against ViT at 224 pixels, and against dense upsampling at 512.

python benchmarks/model.py
"""

from collections.abc import Callable
from copy import deepcopy

import timm
import torch
from rich.console import Console
from rich.table import Table
from timing import fastest
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from cast_exp.models import CAST, create_model
from cast_exp.models.tokens import Reading, SuperpixelTokens
from cast_exp.ops import Superpixels


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


@torch.inference_mode()
def main() -> None:
    torch.manual_seed(0)
    console = Console()
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, float32")

    table = Table("224 pixels, batch 8", "GMAC", "ms", "of the ViT's time")
    cast = create_model("cast_small").eval()
    vit = timm.create_model("vit_small_patch16_224").eval()
    images, maps, first = torch.randn(8, 3, 224, 224), squares(224, 16, 8), 0.0
    superpixels = Superpixels.of(maps, 196)
    full = superpixels._replace(full=True)
    candidates = {
        "ViT-S/16 (timm)": lambda: vit(images),
        "CAST-S, 196 superpixels": lambda: cast(images, superpixels, last_grouping=False),
        "the same, nothing masked": lambda: cast(images, full, last_grouping=False),
    }
    for name, seconds in fastest(candidates).items():
        first = first or seconds
        macs = gigamacs(candidates[name]) / len(images)
        table.add_row(name, f"{macs:.2f}", f"{1e3 * seconds:.0f}", f"{seconds / first:.2f}")
    console.print(table)

    table = Table("512 pixels, 1024 superpixels, CAST-S", "ms", "times faster")
    pooled = create_model("cast_small", fusion=True, sampling="interpolated").eval()
    dense = deepcopy(pooled)
    images, maps = torch.randn(1, 3, 512, 512), squares(512, 16, 1)
    assert isinstance(dense, CAST)
    dense.tokens.__class__ = DenseTokens
    dense.tokens.segments = maps[0]
    difference = (pooled(images, maps).fused - dense(images, maps).fused).abs().max()
    times = fastest(
        {
            "upsampled densely": lambda: dense(images, maps, last_grouping=False),
            "pooled interpolation": lambda: pooled(images, maps, last_grouping=False),
        }
    )
    for name, seconds in times.items():
        table.add_row(name, f"{1e3 * seconds:.0f}", f"{times['upsampled densely'] / seconds:.1f}")
    console.print(table)
    console.print(f"largest difference of a fused feature: {difference:.1e}")


if __name__ == "__main__":
    main()
