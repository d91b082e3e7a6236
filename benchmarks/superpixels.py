"""Superpixels at 224 pixels: the methods, and the parts of our SLIC against the obvious ways.

    python benchmarks/superpixels.py

Both steps of k-means in `Slic` are small. On a quarter of the 50,176 pixels, with 9 clusters and 6
numbers each, two products make 2.7 MFLOP for an iteration and move some 2 MB: on the CPU memory and
the overhead of calls decide. On a GPU a whole batch is bound by memory; it needs about 150 bytes a
pixel.
"""

from functools import partial

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from timing import fastest
from torch import Tensor

from cast_exp.superpixels import FastSlic, Grid, Seeds, Slic, SuperpixelMethod
from cast_exp.superpixels.connectivity import connected_components
from cast_exp.superpixels.slic import cluster, rgb_to_lab


def blobs(batch: int, side: int = 224) -> Tensor:
    """Smooth colours with some noise, float (batch, 3, side, side) in 0..1."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(batch, 3, 12, 12, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    return (smooth + 0.03 * torch.randn(smooth.shape, generator=random)).clamp(0, 1)


def cluster_with_all(colours: Tensor, side: int, compactness: float, iterations: int) -> Tensor:
    """The obvious k-means: every pixel against every cluster, means by index_add."""
    height, width = colours.shape[2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    labels = (y // side * -(-width // side) + x // side).flatten()
    place = torch.stack([y, x]) * (compactness / side)
    points = torch.cat([colours[0], place]).flatten(1).T
    count = int(labels.max()) + 1
    for _ in range(iterations + 1):
        sums = points.new_zeros(count, points.shape[1]).index_add_(0, labels, points)
        means = sums / labels.bincount(minlength=count)[:, None].clamp(min=1)
        labels = torch.cdist(points, means).argmin(1)
    return labels.view(1, height, width)


def components_by_label(labels: Tensor) -> None:
    """The obvious way to the pieces: OpenCV, label by label."""
    pixels = labels[0].numpy()
    for label in range(int(pixels.max()) + 1):
        cv2.connectedComponents((pixels == label).astype(np.uint8), connectivity=4)


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    console = Console()
    console.print(f"1 thread of the CPU, torch {torch.__version__}, OpenCV {cv2.__version__}")

    methods: dict[str, SuperpixelMethod] = {
        "seeds": Seeds(),
        "slic": Slic(),
        "slic, exact": Slic(exact=True),
        "grid": Grid(),
    }
    if FastSlic.is_installed():
        methods |= {"fast_slic": FastSlic(), "fast_slic, exact": FastSlic(exact=True)}
    image = blobs(1)
    table = Table("224 pixels, 196 superpixels", "ms for an image")
    times = fastest({name: partial(method, image) for name, method in methods.items()}, 30)
    for name, seconds in times.items():
        table.add_row(name, f"{1e3 * seconds:.2f}")
    if torch.cuda.is_available():
        images = blobs(256).cuda()

        def run(method: SuperpixelMethod) -> None:
            method(images)
            torch.cuda.synchronize()

        names = ("slic", "slic, exact")
        for name, seconds in fastest({name: partial(run, methods[name]) for name in names}).items():
            what = f"{name}, 256 at once, {torch.cuda.get_device_name()}"
            table.add_row(what, f"{1e3 * seconds / 256:.3f}")
    console.print(table)

    lab = rgb_to_lab(image)
    labels = cluster(lab, 16, 10.0, 10)
    table = Table("part of slic", "ours, ms", "the obvious way, ms", "times faster")
    for part, ours, obvious in (
        (
            "k-means: 9 clusters for a pixel, or all",
            lambda: cluster(lab, 16, 10.0, 10),
            lambda: cluster_with_all(lab, 16, 10.0, 10),
        ),
        (
            "pieces: by runs, or by OpenCV for each label",
            lambda: connected_components(labels),
            lambda: components_by_label(labels),
        ),
    ):
        times = fastest({"ours": ours, "obvious": obvious})
        fast, slow = 1e3 * times["ours"], 1e3 * times["obvious"]
        table.add_row(part, f"{fast:.2f}", f"{slow:.2f}", f"{slow / fast:.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
