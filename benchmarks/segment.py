"""From a photo to its hierarchy on the CPU: what one picture takes, and what of it takes longest.

python benchmarks/segment.py
"""

from pathlib import Path

import numpy as np
import torch
from model import DenseTokens
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from timing import fastest
from torch.profiler import profile

from cast_exp.data.datasets import Shapes
from cast_exp.models import CAST, Backbone, Hierarchy, create_model
from cast_exp.predict.attention_heads import heads_of
from cast_exp.predict.page import hierarchy_page
from cast_exp.predict.photo import photo_scene
from cast_exp.predict.segments import hierarchy_files, segment, tree_of
from cast_exp.superpixels import Seeds

LEVELS = (64, 32, 16, 8)
SIZE = 512
METHOD = Seeds(1024, histogram_bins=5, iterations=15)
PATH = Path("photo.png")


def photo(width: int, height: int) -> NDArray[np.uint8]:
    """A drawn picture, enlarged, with grain."""
    drawn = Shapes("val", size=512)[0]["image"].resize((width, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 1))
    return np.clip(np.asarray(drawn) + grain, 0, 255).astype(np.uint8)


def measure(pixels: NDArray[np.uint8], pooled: CAST, dense: CAST) -> Table:
    """What each step takes for one picture."""
    made = photo_scene(pixels, METHOD, SIZE, PATH)
    dense.tokens.segments = made.superpixels.map[0]
    hierarchy = segment(pooled, made, LEVELS, attention=True)
    tree = tree_of(made, hierarchy, pixels)
    superpixels, heads = made.full_superpixels.numpy(), heads_of(hierarchy, tree)

    def whole(backbone: Backbone) -> Hierarchy:
        return segment(backbone, photo_scene(pixels, METHOD, SIZE, PATH), LEVELS)

    times = fastest(
        {
            "picture to hierarchy": lambda: whole(pooled),
            "  superpixels and resizing": lambda: photo_scene(pixels, METHOD, SIZE, PATH),
            "  backbone": lambda: segment(pooled, made, LEVELS),
            "picture to hierarchy, upsampled densely": lambda: whole(dense),
            "facts of all segments": lambda: tree_of(made, hierarchy, pixels),
            "label maps, pictures, tree": lambda: hierarchy_files(made, tree, pixels),
            "page": lambda: hierarchy_page("photo", pixels, superpixels, tree, *heads),
        },
        rounds=5,
    )
    height, width = pixels.shape[:2]
    table = Table("step", "ms", title=f"{width} x {height}, {made.count} superpixels, CAST-S")
    for name, seconds in times.items():
        table.add_row(name, f"{1e3 * seconds:.0f}")
    return table


@torch.inference_mode()
def main() -> None:
    torch.manual_seed(0)
    console = Console()
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, float32")
    pooled = create_model("cast_small", sampling="interpolated").eval()
    dense = create_model("cast_small", sampling="interpolated").eval()
    assert isinstance(pooled, CAST)
    assert isinstance(dense, CAST)
    dense.load_state_dict(pooled.state_dict())
    dense.tokens.__class__ = DenseTokens
    for width, height in ((512, 512), (500, 375), (4000, 3000)):
        console.print(measure(photo(width, height), pooled, dense))

    console.print("operations that take longest in the backbone, 512 x 512:")
    made = photo_scene(photo(512, 512), METHOD, SIZE, PATH)
    with profile() as profiled:
        segment(pooled, made, LEVELS)
    totals = profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=8)
    console.print(totals, soft_wrap=True)


if __name__ == "__main__":
    main()
