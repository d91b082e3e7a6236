"""Measures this machine for a training, and advises: the command `advise`."""

import logging
import warnings
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from cast_exp.cli.parsers import advise_options
from cast_exp.data.base import RawDataModule, available_cores
from cast_exp.data.datamodule import ImageDataModule
from cast_exp.data.views import View
from cast_exp.errors import UserError
from cast_exp.plugins import LIGHTNING, allow
from cast_exp.run.build import build
from cast_exp.run.measure import (
    CoreSeconds,
    Item,
    Step,
    core_seconds,
    prepare_seconds,
    time_step,
)
from cast_exp.run.preflight import checked_command
from cast_exp.run.tree import compose, config_tree
from cast_exp.run.trust import users_plugins
from cast_exp.superpixels import Slic
from cast_exp.train import train

DEVICES = (1, 8, 64)
_SLACK = 1.1  # workers beyond those that serve the device on average
_ON_CPU = (4, 8)  # batches


@dataclass(frozen=True)
class Mode:
    """A way to make views and superpixels, and what an image costs with it.

    Attributes:
        choice: Its overrides.
        core: Seconds of one core of the loader.
        device: Seconds of a device.
        shared: Whether the device is made of these cores.
    """

    choice: str
    core: float
    device: float
    shared: bool = False

    def rate(self, cores: float) -> float:
        """Images per second of a device with so many cores."""
        loading = self.core / cores
        return 1 / (loading + self.device if self.shared else max(loading, self.device))

    def workers(self, cores: int) -> int:
        """Workers that keep the device busy, as far as there are cores."""
        if self.shared:
            return max(1, round(self.core * self.rate(cores)))
        return min(cores, ceil(_SLACK * self.core / self.device))

    def limit(self, cores: float) -> str:
        """What an image waits for most."""
        return "loading" if self.core / cores > self.device else "the training step"


def main(arguments: Sequence[str]) -> int:
    """Measure and advise; the exit code.

    Raises:
        UserError: Mistakes in the overrides, missing data.
    """
    options = advise_options(arguments)
    extra = [f"--config-dir={options.config_dir}"] if options.config_dir else []
    words = checked_command([*options.overrides, *extra], "train", train)
    overrides = [word for word in words if not word.startswith("-")]
    with config_tree(extra=options.config_dir) as place:
        config = compose("train", [*overrides, "paths.run=."])  # there is none
        allow(*users_plugins(options.overrides, place), *LIGHTNING)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    nodes: Any = {
        name: OmegaConf.to_container(config[name], resolve=True)
        for name in ("data", "task", "trainer")
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning, which the run repeats
        advise(nodes, options.seconds, Console())
    return 0


def advise(config: dict[str, Any], seconds: float, console: Console) -> None:
    """Measure the data and the task of a config, and print what follows.

    Raises:
        UserError: Missing data.
    """
    data: RawDataModule = build(config["data"])
    epochs, wanted = config["trainer"]["max_epochs"], config["trainer"]["devices"]
    if not isinstance(wanted, int) or wanted < 1:  # auto, all or a list
        wanted = max(torch.cuda.device_count(), 1)
    images, batch = len(data.raw("train")), max(data.batch_size // wanted, 1)
    console.print(f"measuring for about {seconds:.0f} seconds ...", style="dim")
    cost, items = core_seconds(data, seconds / 3)
    on_gpu = torch.cuda.is_available() and config["trainer"]["accelerator"] != "cpu"
    device = "cuda" if on_gpu else "cpu"
    modes = [Mode(_place(data), cost.total, prepare_seconds(data, items, device), not on_gpu)]
    if on_gpu and isinstance(data, ImageDataModule):
        modes += device_modes(data, cost, items, device, seconds / 6)
    steps = _steps(config, data, items, batch, seconds / 3, on_gpu)
    fixed, per_image = line(steps)
    step = fixed / batch + per_image
    modes = [replace(mode, device=mode.device + step) for mode in modes]
    cores = max(available_cores() // (torch.cuda.device_count() if on_gpu else 1), 1)
    best = max(modes, key=lambda mode: mode.rate(cores))
    console.print(_costs(cost, data, steps))
    console.print(
        f"a step is about {fixed * 1e3:.3g} ms and {per_image * 1e3:.3g} ms for each image"
    )
    for mode in modes:
        console.print(
            f"{mode.choice}: {mode.rate(cores):.3g} images/s per device with {cores} cores, "
            f"limited by {mode.limit(cores)}{'; both share the cores' * mode.shared}",
            soft_wrap=True,
        )
    console.print(f"[bold]best:[/] {best.choice} data.workers={best.workers(cores)}")
    efficient = max(ceil(9 * fixed / per_image), 1)
    console.print(
        f"batch: from {efficient} images per device on, steps have 90 % of their highest speed; "
        f"the experiment has {batch}",
        soft_wrap=True,
    )
    if on_gpu and steps[-1].batch < batch:
        console.print(f"[red]the device cannot hold {batch} images[/], but {steps[-1].batch}")
    table = Table("devices", "images/s", f"hours for {epochs} epochs of {images:,} images")
    for count in DEVICES:
        rate = count * best.rate(cores)
        table.add_row(str(count), f"{rate:.4g}", f"{epochs * images / rate / 3600:.3g}")
    console.print(table)
    console.print("docs/planning.md has the formula, and what else a cluster needs")


def line(steps: Sequence[Step]) -> tuple[float, float]:
    """Seconds of a step of no image, and of each image in it, neither below 0."""
    first, last = steps[0], steps[-1]
    if first.batch == last.batch:
        return 0.0, last.seconds / last.batch
    slope = (last.seconds - first.seconds) / (last.batch - first.batch)
    slope = min(max(slope, 0.0), last.seconds / last.batch) or last.seconds / last.batch
    return last.seconds - slope * last.batch, slope


def _steps(
    config: dict[str, Any],
    data: RawDataModule,
    items: list[Item],
    batch: int,
    seconds: float,
    on_gpu: bool,
) -> list[Step]:
    """A step with two batches, as far as the device can hold them."""
    sizes = (max(batch // 4, 2), batch) if on_gpu else tuple(min(n, batch) for n in _ON_CPU)
    steps: list[Step] = []
    for size in dict.fromkeys(sizes):
        try:
            steps.append(time_step(config, data, items, size, seconds / 2))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
    if not steps:
        raise UserError(f"the device cannot hold {sizes[0]} images; set a smaller data.batch_size")
    return steps


def _place(data: RawDataModule) -> str:
    """Overrides that say where the workers of these data stop."""
    if getattr(data, "augment_on", "worker") == "device":
        return "data.augment_on=device"
    return f"data.superpixels_on={getattr(data, 'superpixels_on', 'worker')}"


def device_modes(
    data: ImageDataModule, cost: CoreSeconds, items: list[Item], device: str, seconds: float
) -> list[Mode]:
    """Ways to have more done on the device, with what it costs there; the step is left out.

    Args:
        data: As they are configured; what they leave to the device is not among the ways.
        cost: Of a sample of theirs.
        items: Samples.
        device: Where.
        seconds: To measure how long workers take that only cut.
    """
    other, words = copy(data), ""
    if data.superpixel.device == "cpu":
        other.superpixel, words = Slic(data.superpixel.count), "superpixel=slic "
    modes = []
    if data.superpixels_on == "worker" and not (data.views and data.views.erasing):
        other.superpixels_on = "device"
        core, there = cost.decode + cost.augment, prepare_seconds(other, items, device)
        modes.append(Mode(f"{words}{_place(other)}", core, there))
    on_device = data.views is not None and all(isinstance(v, View) for v in data.views.transforms)
    if data.augment_on == "worker" and on_device:
        other.superpixels_on = other.augment_on = "device"
        less, cut = core_seconds(other, seconds)
        modes.append(
            Mode(f"{words}{_place(other)}", less.total, prepare_seconds(other, cut, device))
        )
    return modes


def _costs(cost: CoreSeconds, data: RawDataModule, steps: Sequence[Step]) -> Table:
    table = Table("what an image costs", "ms", "images/s")
    method = type(data.superpixel).__name__
    rows = {
        "decoding, one core": cost.decode,
        "augmentation, one core": cost.augment,
        f"superpixels ({method}), one core": cost.superpixels,
        "all of these, one core": cost.total,
    }
    for step in steps:
        memory = f", {step.gib:.1f} GiB" if step.gib else ""
        rows[f"training step of {step.batch}, one device{memory}"] = step.seconds / step.batch
    for name, seconds in rows.items():
        table.add_row(name, f"{seconds * 1e3:.3g}", f"{1 / seconds:.3g}" if seconds else "")
    return table
