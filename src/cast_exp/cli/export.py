"""Writes a model as ONNX or for torch alone: the command `export`."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from cast_exp.cli.parsers import export_options
from cast_exp.errors import UserError, listing
from cast_exp.export import FORMATS, Exported
from cast_exp.export.exported import difference
from cast_exp.output.files import atomic_write
from cast_exp.run.build import build
from cast_exp.run.folder import run_of
from cast_exp.run.record import RunRecord
from cast_exp.run.trust import allow_parts
from cast_exp.superpixels import SuperpixelMethod

TOLERANCE = 1e-4
"""The largest difference between a model and its file that is rounding."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code.

    Raises:
        UserError: No checkpoint, a size, count or levels that it cannot have, a missing package, a
            model that cannot be written in the format.
    """
    options = export_options(arguments)
    allow_parts(None, options.plugins)
    kind = FORMATS[options.format]
    kind.require_packages()
    run = None if options.superpixels else run_of(options.checkpoint)
    method = _method(run) if run else None
    model = Exported.load(
        options.checkpoint,
        options.weights,
        options.size,
        options.superpixels,
        options.levels,
        method,
    )
    path = options.out or Path("model").with_suffix(kind.suffix)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    try:
        with atomic_write(path) as new:
            kind.write(model, new, model.metadata())
    except OSError as error:
        raise UserError(f"cannot write {path} ({error}); choose another --out") from error
    except UserError:
        raise
    except Exception as error:  # of whatever kind: of an operator that the format lacks
        reason = listing(str(error).strip().splitlines()[:1])
        raise UserError(
            f"{options.checkpoint} cannot be written as --format {options.format}: {reason}"
        ) from error
    print(f"wrote {path}: {_described(model)}")
    if method:
        print(f"with as many superpixels as {method} makes, the method of the run")
    return _compare(model, path, options.format)


def _method(run: Path) -> SuperpixelMethod:
    """The superpixel method that a run was trained with."""
    node = RunRecord.read(run).config.get("superpixel")
    method = build(node) if isinstance(node, Mapping) else None
    if not isinstance(method, SuperpixelMethod):
        raise UserError(f"{run} does not say how it makes superpixels; set --superpixels")
    return method


def _described(model: Exported) -> str:
    height, width = model.size
    return (
        f"image float32 (B, 3, {height}, {width}) in 0..1, superpixels int64 (B, {height}, "
        f"{width}) with labels 0..{model.count - 1} (--size and --superpixels give others)"
    )


def _compare(model: Exported, path: Path, name: str) -> int:
    """Run the file on one image, which it was not traced with; the exit code."""
    inputs = model.example(1)
    with torch.no_grad():
        apart = difference(model(*inputs), FORMATS[name].run(path, *inputs))
    runner = "onnxruntime" if name == "onnx" else "torch"
    if apart <= TOLERANCE:
        print(f"run back by {runner}: the same segments, largest difference {apart:.1e}")
        return 0
    print(
        f"run back by {runner}: other segments or numbers (difference {apart:.1e}); do not use it"
    )
    return 1
