"""What each model costs: the command `cost`."""

import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor, nn

from cast_exp.cli.parsers import cost_options
from cast_exp.errors import UserError
from cast_exp.models.backbone import Backbone
from cast_exp.models.cast import CAST
from cast_exp.models.flops import FlopCount
from cast_exp.models.registry import SIZES, create_model, size_of
from cast_exp.output.files import write_csv, write_text
from cast_exp.output.markdown import markdown_table
from cast_exp.run.options import plain
from cast_exp.superpixels import Grid

PATCH = 16
"""A superpixel for every 16 x 16 pixels: 196 at 224 pixels and 1024 at 512, as in the paper."""
LEVELS: dict[int, tuple[int | float, ...]] = {224: (64, 32, 16, 8), 512: (320, 160, 80, 40)}
"""Segments of a CAST at the sizes the official release has them for."""
FRACTIONS = (1 / 3, 1 / 6, 1 / 12, 1 / 24)
"""And at other sizes: the paper's fractions of the superpixels."""

EXPLANATION = """\
One forward pass for recognition, in evaluation mode and float32, of one image cut into squares of
16 x 16 pixels in the place of superpixels, whose making is not counted; a CAST leaves out the
grouping after its last stage, which recognition does not read. Segments of a CAST: 64, 32 and 16
at 224 pixels, 320, 160 and 80 at 512, otherwise 1/3, 1/6 and 1/12 of the superpixels.

GMACs are billions of multiply-adds of convolutions, matrix products and attention, by torch's flop
counter; GFLOPs are twice as many. Norms, activations, averages and the choice of segment seeds are
not counted. `stem` is the convolutional stem, `groupings` the groupings, `blocks` all the rest.
Tokens are those that enter each stage (each block of a ToMe), without the class token. The saving
is that of GMACs against the ViT of the same width at the same size.

Peak memory is that of the weights and the batch. On CUDA it is torch's peak of allocated memory.
On the CPU it is the size of the weights plus the growth of the process's peak resident memory, a
lower bound where memory was at hand. Images/s are by the median of several batches.

The official release counts 3.14 and 12.21 GMACs for CAST-S and -B at 224 pixels, and 4.60 and 17.70
for ViT-S and -B: savings of 32 % and 31 %. Nearly all of what ours has less comes from the last,
linear layer of the stem, which runs there on all 784 cells of the feature grid and here on the 196
averages of cells, with the same result. The early paper (without the release) speaks of 66.8 % and
65.7 % and does not say what is counted. No count here comes to that; blocks alone, without stem and
groupings, save the most.
"""


@dataclass(frozen=True)
class Cost:
    """What a model costs at a size; see `EXPLANATION`.

    Attributes:
        model: Name of the model.
        size: Side of the image in pixels.
        superpixels: Superpixels of the image.
        parameters: Number of parameters.
        gmacs: Billions of multiply-adds for one image; `stem`, `blocks` and `groupings` are parts.
        stem: Those of the convolutional stem.
        blocks: Those of all that is neither stem nor grouping.
        groupings: Those of the groupings.
        gflops: Twice `gmacs`.
        tokens: Tokens that enter each stage, the class token left out.
        images_per_second: Speed.
        peak_mib: Peak memory in MiB.
        batch: Images in a batch, for speed and memory.
    """

    model: str
    size: int
    superpixels: int
    parameters: int
    gmacs: float
    stem: float
    blocks: float
    groupings: float
    gflops: float
    tokens: tuple[int, ...]
    images_per_second: float
    peak_mib: float
    batch: int


@torch.inference_mode()
def measure(name: str, size: int, batch: int = 1, device: str = "cpu", repeats: int = 5) -> Cost:
    """Count and time a model; in a process of its own, or the memory says little.

    Args:
        name: One of `SIZES`.
        size: Side of the images in pixels.
        batch: Images in a batch.
        device: Device of torch.
        repeats: Timed batches, after one that is not.
    """
    model = create_model(name, image_size=size).eval().to(device)
    images = torch.rand(batch, 3, size, size, device=device)
    superpixels = Grid((-(-size // PATCH)) ** 2)(images)
    options: dict[str, object] = {"last_grouping": False}
    if isinstance(model, CAST):
        options["levels"] = LEVELS.get(size, FRACTIONS)
    before = _memory(device)
    seconds = [_seconds(model, images, superpixels, options) for _ in range(1 + repeats)][1:]
    peak = _memory(device) - (0 if device.startswith("cuda") else before - _weights(model))
    count = FlopCount(model, images[:1], superpixels[:1], **options)
    hierarchy = model(images[:1], superpixels[:1], **options)
    stem = sum(count.of(part) for part in model.stem.children())  # CAST projects later
    groupings = count.of(model.groupings) if isinstance(model, CAST) else 0
    return Cost(
        model=name,
        size=size,
        superpixels=hierarchy.levels[0].tokens.size(1),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        gmacs=count.total / 2e9,
        stem=stem / 2e9,
        blocks=(count.total - stem - groupings) / 2e9,
        groupings=groupings / 2e9,
        gflops=count.total / 1e9,
        tokens=tuple(level.tokens.size(1) for level in hierarchy.levels),
        images_per_second=batch / median(seconds),
        peak_mib=peak / 2**20,
        batch=batch,
    )


def savings(costs: Sequence[Cost]) -> list[str]:
    """What each CAST saves against the ViT of its width at the same size, a sentence for each."""
    vits = {(SIZES[c.model].dim, c.size): c for c in costs if SIZES[c.model].family == "vit"}
    sentences = []
    for cost in costs:
        vit = vits.get((SIZES[cost.model].dim, cost.size))
        if SIZES[cost.model].family != "cast" or vit is None:
            continue
        sentences.append(
            f"{cost.model} at {cost.size} px: {1 - cost.gmacs / vit.gmacs:.1%} less than "
            f"{vit.model} ({cost.gmacs:.2f} against {vit.gmacs:.2f} GMACs), "
            f"{1 - cost.blocks / vit.blocks:.1%} in the blocks alone."
        )
    return sentences


def save(costs: Sequence[Cost], folder: Path, device: str) -> None:
    """Write `cost.csv`, and `cost.md` with the savings and what is counted."""
    found = [asdict(cost) | {"tokens": " ".join(map(str, cost.tokens))} for cost in costs]
    write_csv(folder / "cost.csv", [found[0], *(each.values() for each in found)])
    lines = [f"# What the models cost\n\nOn {device}, batches of {costs[0].batch}.\n"]
    lines += [markdown_table(_rows(costs)), *(f"- {sentence}" for sentence in savings(costs))]
    write_text(folder / "cost.md", "\n".join([*lines, "", EXPLANATION]))


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: Unknown models, sizes or a device that cannot be used.
    """
    options = cost_options(arguments)
    models, sizes = _wanted(options.models or ",".join(SIZES), options.sizes, options.device)
    with Console(stderr=True).status("measuring") as status:
        costs = []
        for size in sizes:
            for model in models:
                status.update(f"measuring {model} at {size} px")
                costs.append(_apart(model, size, options.batch, options.device))
    device = _device_name(options.device)
    Console(width=max(Console().width, 130)).print(_table(costs, device))
    print(*savings(costs), "", plain(EXPLANATION), sep="\n")
    if options.out:
        save(costs, options.out, device)
        print(f"wrote {options.out / 'cost.csv'} and {options.out / 'cost.md'}")
    return 0


def _wanted(models: str, sizes: str, device: str) -> tuple[list[str], list[int]]:
    names = models.split(",")
    for name in names:
        size_of(name)  # or a word that there is none of this name
    sides = sizes.split(",")
    if bad := [side for side in sides if not side.isdecimal() or int(side) < 4 * PATCH]:
        raise UserError(f"--sizes {bad[0]}: sides of images are numbers from {4 * PATCH} on")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: {str(error).splitlines()[0]}") from None
    return names, [int(side) for side in sides]


def _apart(model: str, size: int, batch: int, device: str) -> Cost:
    """Measure in a process of its own, whose memory nothing else has used."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(measure, model, size, batch, device).result()


def _seconds(
    model: Backbone, images: Tensor, superpixels: Tensor, options: dict[str, object]
) -> float:
    start = time.perf_counter()
    model(images, superpixels, **options)
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - start


def _weights(model: nn.Module) -> int:
    return sum(value.nbytes for value in model.state_dict().values())


def _memory(device: str) -> float:
    """Peak of the memory in use so far, in bytes; NaN where the system does not tell (Windows)."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ModuleNotFoundError:
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"the CPU, {threads} thread{'s' * (threads > 1)}"


def _short(tokens: Sequence[int]) -> str:
    shown = tokens if len(tokens) <= 4 else (*tokens[:2], "...", tokens[-1])
    return " ".join(map(str, shown))


def _rows(costs: Sequence[Cost]) -> list[list[str]]:
    header = "model,pixels,parameters,GMACs,stem,blocks,groupings,GFLOPs,tokens,images/s,peak MiB"
    rows = [header.split(",")]
    for cost in costs:
        counts = (cost.gmacs, cost.stem, cost.blocks, cost.groupings, cost.gflops)
        rows.append(
            [
                cost.model,
                str(cost.size),
                f"{cost.parameters / 1e6:.1f} M",
                *(f"{count:.2f}" for count in counts),
                _short(cost.tokens),
                f"{cost.images_per_second:.1f}",
                f"{cost.peak_mib:.0f}",
            ]
        )
    return rows


def _table(costs: Sequence[Cost], device: str) -> Table:
    header, *rows = _rows(costs)
    text = ("model", "tokens")
    columns = (Column(name, justify="left" if name in text else "right") for name in header)
    title = f"What the models cost, on {device}, batches of {costs[0].batch}"
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    return table
