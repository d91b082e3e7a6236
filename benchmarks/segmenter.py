"""Segmenter's decoder at 512 x 512, 1024 superpixels and 150 classes: ours against dense pixels.

    python benchmarks/segmenter.py [--model cast_small] [--batch 8] [--rounds 1] [--bf16]

Dense is the same model, whose scores are copied to all pixels for the loss and for the evaluation,
as in the official release. The loss is also timed by itself, with its gradient. Memory is the most
that a call takes beyond what was there before, each in a process of its own. Last comes the
evaluation of one window, superpixels included.
"""

import argparse
import multiprocessing
from collections.abc import Callable
from functools import partial

import torch
from timing import fastest, memory_of
from torch import Tensor
from torch.nn import functional as F

from cast_exp.data import Scene
from cast_exp.data.datasets import Shapes
from cast_exp.data.scene_samples import SceneSamples
from cast_exp.data.sliding import Sliding
from cast_exp.losses import pixel_cross_entropy
from cast_exp.models import MaskTransformer, Pooling, SegmentationModel, create_model
from cast_exp.models.registry import ModelName
from cast_exp.superpixels import Seeds

CLASSES, SIDE, COUNT = 150, 512, 1024
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def segmenter(name: ModelName) -> SegmentationModel:
    torch.manual_seed(0)
    pooling = Pooling((320, 160, 80, 40))
    backbone = create_model(name, pooling=pooling, fusion=True, sampling="interpolated")
    return SegmentationModel(backbone, MaskTransformer(backbone.dim, CLASSES))


def dense_scores(logits: Tensor, superpixels: Tensor) -> Tensor:
    """Of all pixels, (B, K, H, W)."""
    index = superpixels.flatten(1)[..., None].expand(-1, -1, logits.size(-1))
    return logits.gather(1, index).view(*superpixels.shape, -1).permute(0, 3, 1, 2)


def dense_loss(logits: Tensor, superpixels: Tensor, truth: Tensor) -> Tensor:
    return F.cross_entropy(dense_scores(logits, superpixels), truth, ignore_index=255)


def steps(name: ModelName, batch: int, device: str) -> dict[str, Callable[[], object]]:
    """The loss by itself and a training step, in both ways."""
    model = segmenter(name).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, nesterov=True)
    images = torch.rand(batch, 3, SIDE, SIDE)
    superpixels = Seeds(COUNT, 5, 15)(images).to(device)
    truth = torch.randint(CLASSES, (batch, SIDE, SIDE), device=device)
    images = images.to(device)
    scores = torch.randn(batch, COUNT, CLASSES, device=device, requires_grad=True)

    def lose(loss: Loss) -> None:
        loss(scores, superpixels, truth).backward()  # type: ignore[no-untyped-call]

    def train(loss: Loss) -> None:
        optimizer.zero_grad()
        logits = model(images, superpixels).logits
        loss(logits, superpixels, truth).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return {
        "loss, dense": partial(lose, dense_loss),
        "loss, ours": partial(lose, pixel_cross_entropy),
        "training step, dense": partial(train, dense_loss),
        "training step, ours": partial(train, pixel_cross_entropy),
    }


def memory(way: str, name: ModelName, batch: int, device: str, bf16: bool) -> float:
    run = steps(name, batch, device)[way]
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        return memory_of(run, device)


def window(name: ModelName, device: str) -> dict[str, Callable[[], object]]:
    """What one window takes in evaluation, and the dense way to its classes beside ours."""
    model = segmenter(name).to(device).eval()
    dataset = Shapes("val", size=SIDE, creatures=3)
    sliding = Sliding(SIDE, SIDE, SIDE, 4.0)
    samples = SceneSamples(dataset, Seeds(COUNT, 5, 15), SIDE, "windows", sliding=sliding)
    item = dataset[0]
    item["image"] = item["image"].resize((SIDE, SIDE))  # one window

    def made() -> Scene:
        scene: Scene = samples.make(item, (0, 0), 0)["scene"]
        return scene.to(device)

    def named(scene: Scene) -> Tensor:
        return model.predict(
            scene.image, scene.superpixels, scene.full_superpixels, windows=scene.windows
        ).pixels

    @torch.no_grad()
    def dense(scene: Scene) -> Tensor:
        (version,) = scene.windows
        logits = model(version.images, version.superpixels).logits
        return dense_scores(logits, version.superpixels.map).softmax(1).argmax(1)[0].cpu()

    there = made()
    assert (named(there) == dense(there)).float().mean() > 0.99  # but for scores that tie
    return {
        "window: superpixels": made,
        "window: network and classes, dense": lambda: dense(there),
        "window: network and classes, ours": lambda: named(there),
        "window: all, ours": lambda: named(made()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cast_small")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="mixed precision, as precision=bf16")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    autocast = partial(torch.autocast, device, torch.bfloat16, enabled=options.bf16)

    def waited(run: Callable[[], object]) -> None:
        with autocast():
            run()
        if device == "cuda":
            torch.cuda.synchronize()

    ways = steps(options.model, options.batch, device)
    times = fastest({way: partial(waited, run) for way, run in ways.items()}, options.rounds)
    del ways
    context = multiprocessing.get_context("spawn")
    precision = "bf16" if options.bf16 else "float32"
    threads = torch.get_num_threads()
    print(f"{options.model}, batch {options.batch}, {device}, {precision}, {threads} threads")
    for way, seconds in times.items():
        with context.Pool(1) as pool:
            taken = pool.apply(memory, (way, options.model, options.batch, device, options.bf16))
        print(f"{way:>34}: {1e3 * seconds:8.0f} ms {taken:8.0f} MiB")
    parts: dict[str, Callable[[], object]] = {
        part: partial(waited, run) for part, run in window(options.model, device).items()
    }
    for part, seconds in fastest(parts, 3 * options.rounds).items():
        print(f"{part:>34}: {1e3 * seconds:8.0f} ms")


if __name__ == "__main__":
    main()
