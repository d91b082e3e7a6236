"""What a run prints when it starts and when it has ended."""

import csv
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from cast_exp.output.rounding import rounded
from cast_exp.run.folder import rank
from cast_exp.run.notes import Counts
from cast_exp.run.plan import Plan

log = logging.getLogger(__name__)

_RATE = "val/top1_rate"  # what LinearProbeTask and PhaseTimes name their figures
_TIME = "time/"
_SHARES = {
    "val/ema_top1": "top-1 of the averaged weights",
    "val/best_top1": "top-1 of the best epoch",
    "val/miou": "mIoU",
    "val/pixel_accuracy": "pixel accuracy",
    "val/mean_accuracy": "mean accuracy of classes",
    "val/boundary_f": "boundary F",
    "val/ceiling": "mIoU that superpixels allow",
    "val/probe": "quick linear probe",
}


def show_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Print a config as a tree.

    Args:
        folder: Folder of the run, where Hydra has left the config as it was written: what refers
            to another node or to the folder is shown so.
        config: Resolved config.
    """
    if rank() == 0:
        path = folder / ".hydra" / "config.yaml"
        there = path.is_file()  # unless hydra.output_subdir says otherwise
        written: Any = OmegaConf.to_container(OmegaConf.load(path)) if there else config
        tree = Tree("[bold]config")
        _grow(tree, config, written)
        Console().print(tree)


def show_plan(plan: Plan, counts: Counts | None, notes: Sequence[str]) -> None:
    """Print the batch, learning rate and steps of a run, what its images become, and notes."""
    if rank() == 0:
        table = Table(title="plan", show_header=False, title_justify="left")
        for name, value in asdict(plan).items():
            shown = f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
            table.add_row(name.replace("_", " "), shown)
        for row in counts.rows().items() if counts else ():
            table.add_row(*row)
        Console().print(table)
        for note in notes:
            log.info("note: %s", note)


def show_result(folder: Path, metrics: Mapping[str, float]) -> None:
    """Print what a run has come to and where everything lies.

    Args:
        folder: Folder of the run.
        metrics: Final metrics by name.
    """
    if rank() != 0:
        return
    table = Table(title="result", show_header=False, title_justify="left")
    if losses := _loss_by_epoch(folder / "metrics.csv"):
        table.add_row("loss, first and last epoch", f"{rounded(losses[0])}   {rounded(losses[-1])}")
    if "val/top1" in metrics:
        figures = [metrics[name] for name in ("val/top1", "val/top5") if name in metrics]
        table.add_row("accuracy, top-1 and top-5", "   ".join(map(_percent, figures)))
    for name, shown in _SHARES.items():
        if name in metrics:
            table.add_row(shown, _percent(metrics[name]))
    for name, value in metrics.items():
        if name.startswith(_RATE):
            multiple = name.removeprefix(_RATE)
            table.add_row(f"top-1 at {multiple} x the learning rate", _percent(value))
    if "val/knn" in metrics:
        figures = [metrics[name] for name in ("val/knn_untrained", "val/knn") if name in metrics]
        name = "kNN accuracy, untrained and trained" if len(figures) > 1 else "kNN accuracy"
        table.add_row(name, "   ".join(map(_percent, figures)))
    if "throughput/images_per_second" in metrics:
        table.add_row("images per second", f"{metrics['throughput/images_per_second']:.0f}")
    if "throughput/data_wait" in metrics:
        table.add_row("share of time waiting for data", f"{metrics['throughput/data_wait']:.2f}")
    for name, value in metrics.items():
        if name.startswith(_TIME):
            table.add_row(f"seconds of {name.removeprefix(_TIME)}", f"{value:.1f}")
    pictures = sorted((folder / "images").glob("*.png"))
    places = {
        "folder": folder,
        "picture": pictures[-1] if pictures else folder / "images",
        "weights": folder / "checkpoints",
        "curves": folder / "metrics.csv",
    }
    console = Console()
    console.print(table)
    for name, place in places.items():
        if place.exists():
            console.print(f"{name:8} {place}", soft_wrap=True, highlight=False)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _loss_by_epoch(path: Path) -> list[float]:
    """Mean of the losses that were logged in each epoch."""
    losses: dict[int, list[float]] = defaultdict(list)
    if path.is_file():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row.get("epoch") and row.get("train/loss"):
                    losses[int(row["epoch"])].append(float(row["train/loss"]))
    return [fmean(losses[epoch]) for epoch in sorted(losses)]


def _grow(tree: Tree, node: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    branches = []
    for key, value in node.items():
        text = written[key]
        if isinstance(value, Mapping) and isinstance(text, Mapping) and value:
            branches.append(key)
        elif key not in ("_target_", "_partial_"):
            reference = isinstance(value, Mapping) or str(text).startswith("${paths.run}")
            tree.add(escape(f"{key}: {text if reference else value}"))
    for key in branches:
        target = node[key].get("_target_", "").rpartition(".")[2]
        _grow(tree.add(f"[cyan]{key}[/] [bold]{target}[/]"), node[key], written[key])
