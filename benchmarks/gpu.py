"""Training and encoding on a GPU: how fast, and what of the GPU they use.

    python benchmarks/gpu.py [ROW ...] [--device cuda] [--seed 0] [--out results]
    python benchmarks/gpu.py --device cpu --small

Runs the rows whose names contain a ROW, all by default. Each is added to OUT/speed.jsonl as soon as
it is known, and the table of OUT/speed.md is made anew. Without the device the rows stay as they
are. `--small` is a dry run with little of everything, whose figures mean nothing: into
runs/bench-gpu.

Data lie on the device. A training step is that of the real task under a Lightning trainer, with its
optimiser, momentum encoder and logging. TFLOP/s are those that the backbone needs, as
`throughput/model_tflops` of a run, and are compared with those of a product of large matrices.
"""

import argparse
import json
import logging
import platform
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gpu_steps as steps
import gpu_table
import torch
from gauge import Gauge
from lightning.pytorch import Callback

from cast_exp.callbacks.run_record import git_state
from cast_exp.output.files import write_text

MODELS = ("cast_small", "vit_small", "cast_base", "vit_base")
PRODUCT = "product of matrices"
POINTS = ((197, 65), (65, 33), (33, 17))
DENSE = "cast_small, dense, 512 pixels, 1024 superpixels"
Figures = dict[str, float]


class Steps(Callback):
    """Tells a gauge of the steps of a trainer."""

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge

    def on_train_batch_start(self, *_: Any) -> None:
        """A step begins."""
        self.gauge.begin()

    def on_train_batch_end(self, *_: Any) -> None:
        """It ends."""
        self.gauge.end()


class Bench:
    """Measures rows at a scale on a device."""

    def __init__(self, scale: steps.Scale, device: str, seed: int) -> None:
        self.scale, self.device, self.seed = scale, device, seed
        self.warmup, self.timed = (5, 20) if scale is steps.FULL else (1, 1)

    def rows(self) -> Iterator[tuple[str, Callable[[], Figures]]]:
        """Names of rows, and what measures each."""
        yield PRODUCT, self.product
        for compiled in (False, True):
            note = ", compiled" * compiled
            for name in MODELS:
                yield f"MoCo-v3 step, {name}{note}", partial(self.train, name, False, compiled)
                yield f"encoding, {name}{note}", partial(self.encode, name, False, compiled)
            yield f"fine-tuning step, {DENSE}{note}", partial(self.train, MODELS[0], True, compiled)
            yield f"encoding, {DENSE}{note}", partial(self.encode, MODELS[0], True, compiled)
        for tokens, count in POINTS:
            yield f"farthest points, {tokens} to {count}", partial(self.points, tokens, count)

    def product(self) -> Figures:
        """The product of two large square matrices."""
        figures = self.repeat(steps.matrix_product(self.scale, self.device))
        return figures | {"tflops": 2 * self.scale.matrix**3 / figures["ms"] / 1e9}

    def points(self, tokens: int, count: int) -> Figures:
        """The choice of farthest points among tokens."""
        return self.repeat(steps.farthest_points(tokens, count, self.scale, self.device))

    def encode(self, name: str, dense: bool, compiled: bool) -> Figures:
        """A forward pass in evaluation mode."""
        images = self.scale.dense if dense else self.scale.recognition
        model = steps.backbone(name, self.scale, dense).eval()
        cost = steps.teraflops(model, images)
        model.to(self.device)
        pixels = steps.photos(images, self.device, self.seed)
        maps = steps.superpixels(images, self.device, self.seed)
        gauge = self.gauge()
        if compiled:
            model.compile(backend=self.scale.backend, fullgraph=True, dynamic=False)
        half = self.scale.precision == "bf16-mixed"
        with torch.no_grad(), torch.autocast(self.device, torch.bfloat16, enabled=half):
            figures = self.repeat(lambda: steps.forward(model, pixels, maps), gauge)
        return figures | rates(figures, images.batch, cost)

    def train(self, name: str, dense: bool, compiled: bool) -> Figures:
        """A training step: MoCo-v3, or fine-tuning for segmentation."""
        images = self.scale.dense if dense else self.scale.recognition
        make = steps.segmentation if dense else steps.moco
        model = steps.backbone(name, self.scale, dense)
        cost = steps.teraflops(model, images)
        compile = self.scale.backend if compiled else False
        task, batch = make(model, self.scale, self.device, self.seed, compile)
        gauge = self.gauge()
        steps.fit(task, batch, gauge.total, self.scale, [Steps(gauge)])
        return gauge.figures | rates(gauge.figures, images.batch, cost * task.forward_passes)

    def gauge(self) -> Gauge:
        """A new gauge."""
        return Gauge(self.device, self.warmup, self.timed)

    def repeat(self, run: Callable[[], object], gauge: Gauge | None = None) -> Figures:
        """What a gauge says of a function."""
        gauge = gauge or self.gauge()
        for _ in range(gauge.total):
            gauge.begin()
            run()
            gauge.end()
        return gauge.figures


def rates(figures: Figures, batch: int, cost: float) -> Figures:
    """Images and operations in a second, given a batch and the operations of an image in 1e12."""
    speed = 1e3 * batch / figures["ms"]
    return {"images_s": speed, "tflops": speed * cost}


def source(device: str, seed: int) -> dict[str, Any]:
    """Where figures come from."""
    state = git_state(Path(__file__).parent) or {"commit": "unknown", "dirty": False}
    cuda = device == "cuda"
    return {
        "hardware": torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU",
        "versions": f"torch {torch.__version__}, Python {platform.python_version()}",
        "commit": state["commit"][:7] + " with changes" * state["dirty"],
        "seed": seed,
        "command": shlex.join(["python", "benchmarks/gpu.py", *sys.argv[1:]]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("row", nargs="*", default=[""], help="parts of names of rows to run")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--small", action="store_true", help="a dry run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of speed.jsonl and speed.md")
    options = parser.parse_args()
    out = options.out or Path("runs/bench-gpu" if options.small else "results")
    bench = Bench(steps.SMALL if options.small else steps.FULL, options.device, options.seed)
    rows = dict(bench.rows())
    records = gpu_table.read(out / "speed.jsonl")
    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            f"no CUDA device; {out / 'speed.md'} keeps what was measured, the rest was not run here"
        )
        gpu_table.rewrite(out / "speed.md", list(rows), records)
        return
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    there = source(options.device, options.seed)
    peak = bench.product()["tflops"]
    for name, measure in rows.items():
        if not any(part in name for part in options.row):
            continue
        record: dict[str, Any] = {"row": name, **there}
        torch.manual_seed(options.seed)
        try:
            record |= measure()
        except Exception as error:
            traceback.print_exc()
            record["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
        if "tflops" in record:
            record["of_peak"] = record["tflops"] / peak
        if "busy_ms" in record:
            record["busy"] = record["busy_ms"] / record["ms"]
        records.append(record)
        print(json.dumps(record), flush=True)
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "speed.jsonl", "".join(f"{json.dumps(each)}\n" for each in records))
        gpu_table.rewrite(out / "speed.md", list(rows), records)
        if options.device == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
