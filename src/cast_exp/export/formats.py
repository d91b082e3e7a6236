"""The formats of files that models are exported to: ONNX, and that of `torch.export`."""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cast_exp.export.exported import Exported
from cast_exp.extras import need_extra

METADATA = "metadata.json"
"""Name of what a file of `torch.export` holds beside the model."""
_BATCH = torch.export.Dim("batch")
_SHAPES = {"image": {0: _BATCH}, "superpixels": {0: _BATCH}}


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        suffix: How its files end.
        needs: Packages of the extra `onnx` that it needs.
        write: Writes a model with its metadata to a path.
        run: Runs a file on image and superpixels; the outputs by name, on the CPU.
    """

    suffix: str
    needs: tuple[str, ...]
    write: Callable[[Exported, Path, Mapping[str, Any]], None]
    run: Callable[[Path, Tensor, Tensor], dict[str, Tensor]]

    def require_packages(self) -> None:
        """Look for the packages.

        Raises:
            UserError: One is not installed.
        """
        need_extra("onnx", "--format onnx", *self.needs, instead="use --format torch")


@torch.no_grad()
def write_onnx(model: Exported, path: Path, metadata: Mapping[str, Any]) -> None:
    """Write a model as ONNX, with its metadata, each value as JSON, in `metadata_props`."""
    example = model.example(2)
    with warnings.catch_warnings(action="ignore"):  # that both inputs have the same batch
        program = torch.onnx.export(
            model,
            example,
            dynamo=True,
            verbose=False,
            output_names=list(model(*example)),
            dynamic_shapes=_SHAPES,
        )
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # stack traces, as large as a small model
    program.model.metadata_props.update({k: json.dumps(v) for k, v in metadata.items()})
    program.save(path, external_data=False)


def run_onnx(path: Path, image: Tensor, superpixels: Tensor) -> dict[str, Tensor]:
    """Run a file with onnxruntime on the CPU."""
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    given = {"image": image.numpy(), "superpixels": superpixels.numpy()}
    return dict(zip(names, map(torch.from_numpy, session.run(None, given)), strict=True))


@torch.no_grad()
def write_torch(model: Exported, path: Path, metadata: Mapping[str, Any]) -> None:
    """Write a model as `torch.export` does, with its metadata as the extra file `METADATA`."""
    program = torch.export.export(model, model.example(2), dynamic_shapes=_SHAPES, strict=False)
    for module in program.graph_module.modules():
        for node in module.graph.nodes:
            node.meta.pop("stack_trace", None)  # paths of this machine
    with open(path, "wb") as file:
        torch.export.save(program, file, extra_files={METADATA: json.dumps(metadata)})


@torch.no_grad()
def run_torch(path: Path, image: Tensor, superpixels: Tensor) -> dict[str, Tensor]:
    """Run a file of `torch.export` on the CPU."""
    outputs: dict[str, Tensor] = torch.export.load(path).module()(image, superpixels)
    return outputs


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), write_onnx, run_onnx),
    "torch": Format(".pt2", (), write_torch, run_torch),
}
"""By the names that the command line has for them."""
