"""Measures superpixel methods against segmentations drawn by people: the command `compare`."""

import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cast_exp.cli.parsers import compare_options
from cast_exp.data.datasets.base import UnreadableImage, readable
from cast_exp.data.datasets.bsds500 import read_segmentations
from cast_exp.data.datasets.images import read_image, to_rgb
from cast_exp.errors import UserError
from cast_exp.metrics.superpixel import achievable_segmentation_accuracy, boundary_recall
from cast_exp.ops.labels import Labels
from cast_exp.output.files import atomic_write, write_csv
from cast_exp.run.folder import require_folder
from cast_exp.run.superpixels import load_methods
from cast_exp.run.trust import allow_parts
from cast_exp.superpixels import FastSlic, SuperpixelMethod

_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
_METHODS = ("seeds", "fast_slic", "slic", "grid")


@dataclass(frozen=True)
class Score:
    """Means of a method over the images; the median of the time."""

    method: str
    images: int
    boundary_recall: float
    """Within 2 pixels; over the images in which a boundary was drawn."""
    achievable_segmentation_accuracy: float
    superpixels: float
    """Labels that own a pixel."""
    milliseconds: float
    """For an image by itself, on one thread of the CPU."""


@dataclass(frozen=True)
class Example:
    """An image and the segmentations that people drew of it."""

    image: Image.Image
    annotations: list[Labels]


def read_examples(
    images: Path, ground_truth: Path, size: int, limit: int | None = None
) -> list[Example]:
    """Read images in the order of their names, and the annotations of each.

    Args:
        images: Folder of images.
        ground_truth: Folder of files of the same names, ``.mat`` or ``.png``.
        size: Resize to this many pixels on both sides, images with a bilinear filter and
            annotations to the nearest pixel; 0 keeps their sizes.
        limit: Read at most this many, the first.

    Raises:
        UserError: A folder is missing or empty, a ground truth is missing, a file is corrupt.
    """
    require_folder(images, "a folder for --images")
    require_folder(ground_truth, "a folder for --ground-truth")
    paths = sorted(path for path in images.iterdir() if path.suffix.lower() in _IMAGES)[:limit]
    if not paths:
        raise UserError(f"no images in {images}; endings looked for: {', '.join(sorted(_IMAGES))}")
    annotated = [(path, _ground_truth_of(path, ground_truth)) for path in paths]
    return [_read_example(path, truth, size) for path, truth in annotated]


def _ground_truth_of(image: Path, folder: Path) -> Path:
    for ending in (".mat", ".png"):
        if (path := folder / f"{image.stem}{ending}").is_file():
            return path
    raise UserError(f"no ground truth {image.stem}.mat or {image.stem}.png for {image} in {folder}")


def _read_example(path: Path, truth: Path, size: int) -> Example:
    try:
        image = to_rgb(read_image(path), path=path)
    except UnreadableImage as error:
        raise UserError(f"cannot read {error}") from error
    read = read_segmentations(truth) if truth.suffix == ".mat" else [_read_label_map(truth)]
    annotations: list[Labels] = [drawn.astype(np.int32) for drawn in read]
    for height, width in (annotation.shape for annotation in annotations):
        if (width, height) != image.size:
            raise UserError(
                f"{truth} is {width} x {height} pixels but {path} {image.width} x {image.height}"
            )
    if size:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
        annotations = [  # not by `nearest`, which moves the README's figures by up to 0.004
            cv2.resize(annotation, (size, size), interpolation=cv2.INTER_NEAREST)
            for annotation in annotations
        ]
    return Example(image, annotations)


def _read_label_map(path: Path) -> Labels:
    try:
        with readable(path), Image.open(path) as file:
            labels = np.asarray(file)
    except UnreadableImage as error:
        raise UserError(f"cannot read {error}") from error
    if labels.ndim != 2:
        raise UserError(f"{path} is a colour image; a label map has one channel (or a palette)")
    return labels


def score(name: str, method: SuperpixelMethod, examples: Sequence[Example]) -> Score:
    """Run a method over the examples, one by one."""
    recalls, accuracies, counts, seconds = [], [], [], []
    shown = track(examples, name, transient=True, disable=not sys.stdout.isatty())
    for number, example in enumerate(shown):
        image = torch.from_numpy(np.array(example.image)).permute(2, 0, 1)[None] / 255
        if number == 0:
            method(image)  # the first call of a library is slower
        begin = time.perf_counter()
        labels = method(image)[0].numpy()
        seconds.append(time.perf_counter() - begin)
        recalls.append(boundary_recall(labels, example.annotations))
        accuracies.append(achievable_segmentation_accuracy(labels, example.annotations))
        counts.append(len(np.unique(labels)))
    drawn = [recall for recall in recalls if not np.isnan(recall)] or [np.nan]
    return Score(
        name,
        len(examples),
        float(np.mean(drawn)),
        float(np.mean(accuracies)),
        float(np.mean(counts)),
        float(np.median(seconds) * 1000),
    )


def table(scores: Sequence[Score]) -> Table:
    """The scores, for the terminal."""
    columns = ("method", "boundary recall (2 px)", "ASA", "superpixels", "ms per image")
    result = Table(*columns, title=f"{scores[0].images} images")
    for s in scores:
        result.add_row(
            s.method,
            f"{s.boundary_recall:.3f}",
            f"{s.achievable_segmentation_accuracy:.3f}",
            f"{s.superpixels:.1f}",
            f"{s.milliseconds:.2f}",
        )
    return result


def plot(scores: Sequence[Score], path: Path) -> None:
    """Draw a panel of bars for each quantity, to a PNG file."""
    from matplotlib.figure import Figure

    panels = {
        "boundary_recall": ("boundary recall (2 px)", "{:.3f}"),
        "achievable_segmentation_accuracy": ("achievable segmentation accuracy", "{:.3f}"),
        "superpixels": ("superpixels", "{:.0f}"),
        "milliseconds": ("ms per image, one thread", "{:.1f}"),
    }
    figure = Figure(figsize=(13, 1.2 + 0.5 * len(scores)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True)
    axes[0].invert_yaxis()  # the first method on top
    for axis, (quantity, (title, style)) in zip(axes, panels.items(), strict=True):
        values = [getattr(s, quantity) for s in scores]
        bars = axis.barh([s.method for s in scores], values, color="tab:blue")
        axis.bar_label(bars, [style.format(value) for value in values], padding=3)
        axis.margins(x=0.2)
        axis.set_title(title)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Superpixels, mean over {scores[0].images} images")
    with atomic_write(path) as new:
        figure.savefig(new, format="png", dpi=120)


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: See `read_examples` and `load_methods`.
    """
    options = compare_options(arguments)
    allow_parts(options.config_dir, options.plugins)

    console = Console()
    names = options.methods.split(",") if options.methods else list(_METHODS)
    if not options.methods and not FastSlic.is_installed():
        names.remove("fast_slic")
        console.print("without fast_slic, whose library is not installed (see `make setup`)")
    methods = load_methods(names, options.count, options.config_dir)
    examples = read_examples(options.images, options.ground_truth, options.size, options.limit)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    scores = [score(name, method, examples) for name, method in methods.items()]
    header = [field.name for field in fields(Score)]
    write_csv(options.out / "compare.csv", [header, *map(astuple, scores)])
    plot(scores, options.out / "compare.png")
    console.print(table(scores))
    console.print(f"{options.out / 'compare.csv'}, {options.out / 'compare.png'}")
    return 0
