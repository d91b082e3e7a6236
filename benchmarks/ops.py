"""Our operators against the obvious way to write each, on the CPU.

    python benchmarks/ops.py

Extra memory is the largest sum of live tensors that a call allocates beside its inputs.
"""

from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from timing import fastest
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import profile

from cast_exp.ops import farthest_point_sampling, pooled_interpolation, segment_mean
from cast_exp.ops.interpolate_pool import Interpolation


def loop_over_distances(points: Tensor, count: int) -> Tensor:
    """Farthest point sampling that measures the distance to each chosen point."""
    points = points.double()
    image = torch.arange(len(points))
    chosen = torch.zeros(len(points), 1, dtype=torch.long)
    distance = torch.full(points.shape[:2], torch.inf, dtype=torch.float64)
    while chosen.size(1) < count:
        latest = points[image, chosen[:, -1], None]
        distance = torch.minimum(distance, (points - latest).square().sum(-1))
        chosen = torch.cat([chosen, distance.argmax(1, keepdim=True)], 1)
    return chosen


def one_hot_mean(features: Tensor, segments: Tensor, count: int) -> Tensor:
    """Segment mean as a product with a one-hot matrix."""
    inside = F.one_hot(segments, count).to(features.dtype).transpose(1, 2)
    return inside @ features / inside.sum(-1, keepdim=True).clamp(min=1)


def upsampled_mean(features: Tensor, segments: Tensor, count: int, mode: Interpolation) -> Tensor:
    """Upsample to pixels, then average; the average itself by our `segment_mean`."""
    pixels = F.interpolate(features, segments.shape[-2:], mode=mode, align_corners=False)
    return segment_mean(pixels.permute(0, 2, 3, 1).flatten(1, 2), segments.flatten(1), count)[0]


def blobs(batch: int, side: int, count: int) -> Tensor:
    """Irregular superpixels, about `count` of them: cells of jittered grid points."""
    generator = torch.Generator().manual_seed(0)
    rows = round(count**0.5)
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(rows)) + 0.5
    points = (grid + 0.8 * (torch.rand(grid.shape, generator=generator) - 0.5)) * side / rows
    pixels = torch.cartesian_prod(torch.arange(side), torch.arange(side)).float()
    nearest = torch.cdist(pixels, points).argmin(1).view(side, side)
    return nearest.expand(batch, -1, -1).contiguous()


def extra_memory(run: Callable[[], object]) -> float:
    """Peak of what `run` allocates, in MB."""
    with profile(profile_memory=True) as recorded:
        kept = run()
    del kept
    live = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak / 1e6


def backward(run: Callable[[], Tensor], features: Tensor) -> Callable[[], None]:
    """A forward and backward pass of `run`."""

    def both() -> None:
        features.grad = None
        run().sum().backward()  # type: ignore[no-untyped-call]

    return both


def main() -> None:
    torch.manual_seed(0)
    console = Console(width=110)
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    table = Table("operator", "obvious, ms", "ours, ms", "times faster", "memory, MB", "difference")

    def compare(
        name: str, obvious: Callable[[], object], ours: Callable[[], object], gap: float
    ) -> None:
        times = fastest({"obvious": obvious, "ours": ours})
        table.add_row(
            name,
            f"{1e3 * times['obvious']:.1f}",
            f"{1e3 * times['ours']:.1f}",
            f"{times['obvious'] / times['ours']:.1f}",
            f"{extra_memory(obvious):.0f} / {extra_memory(ours):.0f}",
            f"{gap:.1e}",
        )

    points = torch.randn(16, 197, 384)
    compare(
        "farthest points, 16x197x384 -> 65",
        lambda: loop_over_distances(points, 65),
        lambda: farthest_point_sampling(points, 65),
        float((loop_over_distances(points, 65) != farthest_point_sampling(points, 65)).sum()),
    )

    features, segments = torch.randn(16, 784, 384), torch.randint(196, (16, 784))
    compare(
        "segment mean, 16x784x384 -> 196",
        lambda: one_hot_mean(features, segments, 196),
        lambda: segment_mean(features, segments, 196),
        gap=float(
            (one_hot_mean(features, segments, 196) - segment_mean(features, segments, 196)[0])
            .abs()
            .max()
        ),
    )

    grid, maps = torch.randn(1, 384, 64, 64, requires_grad=True), blobs(1, 512, 1024)
    modes: tuple[Interpolation, ...] = ("bilinear", "bicubic")
    for mode in modes:

        def obvious(mode: Interpolation = mode) -> Tensor:
            return upsampled_mean(grid, maps, 1024, mode)

        def ours(mode: Interpolation = mode) -> Tensor:
            return pooled_interpolation(grid, maps, 1024, mode)[0]

        with torch.no_grad():
            gap = float((obvious() - ours()).abs().max())
            compare(f"pooled {mode}, 64x64x384 -> 512x512, 1024", obvious, ours, gap)
        compare("  with backward", backward(obvious, grid), backward(ours, grid), gap)
    console.print(table)


if __name__ == "__main__":
    main()
