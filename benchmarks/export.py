"""The forward pass of exported models beside that of torch, on the CPU, one image at a time.

python benchmarks/export.py

With OMP_NUM_THREADS=1 these are times of the CPU, which other load on the machine disturbs least.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from onnxruntime import InferenceSession, SessionOptions
from rich.console import Console
from rich.table import Table
from timing import cpu_clock, fastest

from cast_exp.export import FORMATS, Exported
from cast_exp.models import create_model


@torch.no_grad()
def measured(name: str) -> list[float]:
    """Milliseconds in torch and in onnxruntime, seconds of the export, nodes, MiB of the file."""
    model = Exported(create_model(name), (224, 224), 196)
    with TemporaryDirectory() as folder:
        path, start = Path(folder) / "model.onnx", cpu_clock()
        FORMATS["onnx"].write(model, path, model.metadata())
        seconds = cpu_clock() - start
        options = SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
        size, nodes = path.stat().st_size / 2**20, len(onnx.load(path).graph.node)
    image, superpixels = model.example(1)
    arrays = {"image": image.numpy(), "superpixels": superpixels.numpy()}
    times = fastest(
        {"torch": lambda: model(image, superpixels), "onnx": lambda: session.run(None, arrays)},
        clock=cpu_clock,
    )
    return [1e3 * times["torch"], 1e3 * times["onnx"], seconds, nodes, size]


def main() -> None:
    torch.manual_seed(0)
    console = Console()
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, float32")
    table = Table(
        "224 pixels, batch 1", "torch, ms", "onnxruntime, ms", "export, s", "nodes", "MiB"
    )
    for name in ("vit_small", "cast_small"):
        table.add_row(name, *(f"{value:.0f}" for value in measured(name)))
    console.print(table)


if __name__ == "__main__":
    main()
