"""Our operators against the obvious way to write each, on the CPU.

    python benchmarks/ops.py

Extra memory is the largest sum of live tensors that a call allocates beside its inputs.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from timing import fastest
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import profile

from cast_exp.ops import (
    Interpolation,
    PoolingWeights,
    Superpixels,
    farthest_point_sampling,
    interpolated_weights,
    nearest_weights,
    segment_mean,
)


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


def upsampled_mean(features: Tensor, superpixels: Superpixels, mode: Interpolation) -> Tensor:
    """Upsample to pixels, then average; the average itself by our `segment_mean`."""
    (batch, cells, width), maps = features.shape, superpixels.map
    side = round(cells**0.5)
    grid = features.mT.reshape(batch, width, side, side)
    pixels = F.interpolate(grid, maps.shape[-2:], mode=mode, align_corners=False)
    pixels = pixels.permute(0, 2, 3, 1).flatten(1, 2)
    return segment_mean(pixels, maps.flatten(1), superpixels.count)[0]


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


def backward(run: Callable[[], Tensor], features: Tensor) -> Callable[[], Tensor]:
    """A forward and backward pass of `run`, which returns the gradient."""

    def both() -> Tensor:
        return torch.autograd.grad(run().square().sum(), features)[0]

    return both


def poolings(
    batch: int, side: int, count: int
) -> Iterator[tuple[str, Callable[[], Tensor], Callable[[], Tensor], Callable[[], Tensor]]]:
    """Means over superpixels: a name, the obvious way, ours by terms and ours by a matrix.

    Ours make the weights anew in each call, though in a model several means share them.
    """
    superpixels, grid = Superpixels.of(blobs(batch, side, count), count), side // 8
    features = torch.randn(batch, grid**2, 384, requires_grad=True)
    cells = superpixels.map[:, ::8, ::8].flatten(1)

    def mean(make: Callable[..., PoolingWeights], dense: bool) -> Callable[[], Tensor]:
        return backward(lambda: make(dense=dense).mean(features), features)

    size = f"{batch}x{grid}x{grid}x384 -> {count}"
    nearest = partial(nearest_weights, superpixels, 8, grid, grid, substitute=False)
    obvious = backward(partial(one_hot_mean, features, cells, count), features)
    yield f"nearest, {size}", obvious, mean(nearest, False), mean(nearest, True)
    modes: tuple[Interpolation, ...] = ("bilinear", "bicubic")
    for mode in modes:
        make = partial(interpolated_weights, superpixels, (grid, grid), mode)
        obvious = backward(partial(upsampled_mean, features, superpixels, mode), features)
        yield f"{mode}, {size}", obvious, mean(make, False), mean(make, True)


def main() -> None:
    torch.manual_seed(0)
    console = Console(width=120)
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    table = Table("operator", "obvious, ms", "ours, ms", "times faster", "memory, MB", "difference")
    table.add_column("as a matrix, ms")

    def compare(
        name: str,
        obvious: Callable[[], Tensor],
        ours: Callable[[], Tensor],
        matrix: Callable[[], Tensor] | None = None,
    ) -> None:
        candidates = {"obvious": obvious, "ours": ours} | ({"matrix": matrix} if matrix else {})
        times = fastest(candidates, rounds=3)
        table.add_row(
            name,
            f"{1e3 * times['obvious']:.1f}",
            f"{1e3 * times['ours']:.1f}",
            f"{times['obvious'] / times['ours']:.1f}",
            f"{extra_memory(obvious):.0f} / {extra_memory(ours):.0f}",
            f"{float((obvious() - ours()).abs().max()):.1e}",
            f"{1e3 * times['matrix']:.1f}" if matrix else "",
        )

    points = torch.randn(16, 197, 384)
    compare(
        "farthest points, 16x197x384 -> 65",
        lambda: loop_over_distances(points, 65),
        lambda: farthest_point_sampling(points, 65),
    )
    for batch, side, count in ((8, 224, 196), (1, 512, 1024)):
        for pooling in poolings(batch, side, count):
            compare(*pooling)
    console.print(table)


if __name__ == "__main__":
    main()
