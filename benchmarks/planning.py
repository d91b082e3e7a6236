"""What an image costs in training, against its size, its superpixels and the batch.

    python benchmarks/planning.py [DIR]

DIR holds images (by default they are drawn). Seconds are those of the CPU, so that other load on
the machine counts little; docs/planning.md shows them.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from cast_exp.output.markdown import markdown_table
from cast_exp.run import measure
from cast_exp.run.build import build
from cast_exp.run.tree import compose, config_tree

SIZES = (112, 224, 384)
COUNTS = (49, 196, 784)
METHODS = ("seeds", "fast_slic", "slic", "grid")
BATCHES = (2, 4, 8)
SECONDS = 4.0


def nodes(*overrides: str) -> dict[str, Any]:
    """The config of a pretraining of CAST-S."""
    images = ["data=unlabelled_folder", f"data.root={sys.argv[1]}"] if sys.argv[1:] else []
    images = images or ["data=shapes"]
    fixed = ["experiment=in1k_moco", *images, "data.workers=0", "data.batch_size=8", "paths.run=."]
    with config_tree():
        config = compose("train", [*fixed, "precision=fp32", "compile=false", *overrides])
    return {
        name: OmegaConf.to_container(config[name], resolve=True)
        for name in ("data", "task", "trainer")
    }


def loading(*overrides: str) -> list[str]:
    cost, _ = measure.core_seconds(build(nodes(*overrides)["data"]), SECONDS)
    parts = (cost.decode, cost.augment, cost.superpixels, cost.total)
    return [f"{1e3 * part:.1f}" for part in parts]


def step(batch: int, *overrides: str) -> float:
    config = nodes(*overrides)
    data = build(config["data"])
    _, items = measure.core_seconds(data, 0)
    return measure.time_step(config, data, items, batch, 0).seconds


def show(rows: Sequence[Sequence[str]]) -> None:
    print(markdown_table(rows, numbers=True), flush=True)


if __name__ == "__main__":
    measure.perf_counter = time.process_time  # type: ignore[attr-defined]
    head = ["decoding", "augmentation", "superpixels", "together"]
    grids = {size: f"superpixel.count={(size // 16) ** 2}" for size in SIZES}
    sizes = [
        [
            f"{size} px, {grid.partition('=')[2]} superpixels",
            *loading(f"data.image_size={size}", grid),
        ]
        for size, grid in grids.items()
    ]
    counts = [
        [f"224 px, {count} superpixels", *loading(f"superpixel.count={count}")] for count in COUNTS
    ]
    methods = [[f"224 px, {name}", *loading(f"superpixel={name}")] for name in METHODS]
    show([["ms of a core for an image, two views", *head], *sizes, *counts, *methods])
    seconds = [step(batch) for batch in BATCHES]
    slope, fixed = np.polyfit(BATCHES, seconds, 1)
    rows = [[str(batch), f"{found:.2f}"] for batch, found in zip(BATCHES, seconds, strict=True)]
    show([["images in a step of MoCo-v3, 224 px", "CPU seconds"], *rows])
    print(f"fitted: {fixed:.2f} s and {slope:.2f} s for each image\n", flush=True)
    rows = [
        [f"{size} px", f"{step(2, f'data.image_size={size}', 'pooling=graph_fractions'):.2f}"]
        for size in SIZES
    ]
    show([["step of two images, 1 superpixel for 16 x 16 pixels", "CPU seconds"], *rows])
