"""The forward pass of exported models beside that of torch, on the CPU, one image at a time.

python benchmarks/export.py
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from onnxruntime import InferenceSession, SessionOptions
from rich.console import Console
from rich.table import Table
from timing import fastest

from cast_exp.export import FORMATS, Exported
from cast_exp.models import create_model


@torch.no_grad()
def measured(name: str) -> list[float]:
    """Milliseconds in torch and in onnxruntime, seconds of the export, MiB of the file."""
    model = Exported(create_model(name), (224, 224), 196)
    with TemporaryDirectory() as folder:
        path, start = Path(folder) / "model.onnx", time.perf_counter()
        FORMATS["onnx"].write(model, path, model.metadata())
        seconds = time.perf_counter() - start
        options = SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
        size = path.stat().st_size / 2**20
    image, superpixels = model.example(1)
    arrays = {"image": image.numpy(), "superpixels": superpixels.numpy()}
    times = fastest(
        {"torch": lambda: model(image, superpixels), "onnx": lambda: session.run(None, arrays)}
    )
    return [1e3 * times["torch"], 1e3 * times["onnx"], seconds, size]


def main() -> None:
    torch.manual_seed(0)
    console = Console()
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, float32")
    table = Table("224 pixels, batch 1", "torch, ms", "onnxruntime, ms", "export, s", "MiB")
    for name in ("vit_small", "cast_small"):
        table.add_row(name, *(f"{value:.0f}" for value in measured(name)))
    console.print(table)


if __name__ == "__main__":
    main()
