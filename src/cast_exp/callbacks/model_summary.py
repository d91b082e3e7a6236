"""What the model is made of: parameters and arithmetic of each part, as a table at the start."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table
from torch import nn

from cast_exp.callbacks.side_work import (
    apart_from_training,
    backbone_of,
    data_of,
    log_scalars,
    spare_the_run,
)
from cast_exp.models.flops import FlopCount
from cast_exp.output.files import write_text


@dataclass(frozen=True)
class Part:
    """A row of the table.

    Attributes:
        name: Where the part hangs in the task.
        parameters: Number of parameters; one shared between parts counts for the first.
        trainable: How many of them are trained.
        flops: Floating point operations of one forward pass; None outside the backbone.
    """

    name: str
    parameters: int
    trainable: int
    flops: int | None


class ModelTable(Callback):
    """Prints the parts of the model with parameters and GFLOPs, and saves `<run>/model.txt`.

    GFLOPs are those of one forward pass of the backbone in evaluation mode over one image of the
    size and with the number of superpixels of the data, as `FlopCount` counts them.
    """

    gflops: float | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table and log the totals."""
        if not trainer.is_global_zero:
            return
        with spare_the_run(trainer, "the model table"):
            data = data_of(trainer)
            side = data.image_size
            count = data.superpixel.labels(side, side)
            with apart_from_training(trainer, pl_module):
                parts = summarise(pl_module, side, count)
            table = _table(parts, f"one image of {side}x{side} pixels, {count} superpixels")
            Console().print(table)
            text = io.StringIO()
            Console(file=text, width=100).print(table)
            write_text(Path(trainer.default_root_dir) / "model.txt", text.getvalue())
            total = parts[-1]
            self.gflops = (total.flops or 0) / 1e9
            log_scalars(
                trainer,
                {
                    "model/parameters": total.parameters,
                    "model/trainable": total.trainable,
                    "model/gflops": self.gflops,
                },
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the GFLOPs among the run's metrics, which plots of sweeps are made of."""
        if self.gflops is not None:
            pl_module.log("model/gflops", self.gflops, logger=False)


def summarise(module: LightningModule, side: int, superpixels: int) -> list[Part]:
    """Parameters and operations of the children of a task, its backbone in detail; total last.

    Args:
        module: A task with a `backbone`, in evaluation mode.
        side: Height and width of the image the operations are counted for.
        superpixels: Number of superpixels of that image.
    """
    backbone = backbone_of(module)
    image = torch.rand(1, 3, side, side, device=module.device)
    strips = torch.arange(side * side, device=module.device) * superpixels // side**2
    flops = FlopCount(backbone, image, strips.view(1, side, side))

    seen: set[nn.Parameter] = set()
    parts = []
    for name, child in module.named_children():
        if child is backbone:
            rows = [
                _part(f"{name}.{path}", part, seen, flops.of(part))
                for path, part in _rows(backbone, getattr(backbone, "stem", None))
            ]
            rest = flops.total - sum(row.flops or 0 for row in rows)
            parts += [*rows, _part(f"{name}, rest", child, seen, rest)]
        else:
            parts.append(_part(name, child, seen, None))
    parts = [part for part in parts if part.parameters or part.flops]
    total = sum(p.parameters for p in parts), sum(p.trainable for p in parts)
    return [*parts, Part("total", *total, flops.total)]


def _rows(module: nn.Module, stem: nn.Module | None) -> Iterator[tuple[str, nn.Module]]:
    """The parts of a backbone worth a row: its stem, each element of its lists, the rest."""
    for name, child in module.named_children():
        if child is not stem and any(part is stem for part in child.modules()):
            yield from ((f"{name}.{path}", part) for path, part in _rows(child, stem))
        elif isinstance(child, nn.ModuleList):
            yield from ((f"{name}.{path}", part) for path, part in child.named_children())
        else:
            yield name, child


def _part(name: str, module: nn.Module, seen: set[nn.Parameter], flops: int | None) -> Part:
    new = [parameter for parameter in module.parameters() if parameter not in seen]
    seen.update(new)
    trainable = sum(parameter.numel() for parameter in new if parameter.requires_grad)
    return Part(name, sum(parameter.numel() for parameter in new), trainable, flops)


def _table(parts: list[Part], subject: str) -> Table:
    table = Table(
        title="Model",
        caption=f"GFLOPs: forward pass of the backbone, {subject}; convolutions, matrix products "
        "and attention, 1 multiply-add = 2 FLOPs",
    )
    table.add_column("part")
    for column in ("parameters", "trainable", "GFLOPs"):
        table.add_column(column, justify="right")
    for part in parts:
        if part is parts[-1]:
            table.add_section()
        gflops = "" if part.flops is None else f"{part.flops / 1e9:.3f}"
        table.add_row(part.name, f"{part.parameters:,}", f"{part.trainable:,}", gflops)
    return table
