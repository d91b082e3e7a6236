"""Fine-tuning for segmentation at 512 x 512 with 1024 superpixels: ours against dense pixels.

    python benchmarks/segmentation.py [--model cast_small] [--batch 2] [--rounds 3]

Dense is the same model, but the head runs on features that are copied to the pixels of a half-size
map and its scores are enlarged bilinearly to all pixels, as in the official release. Memory is the
most that a call takes beyond what was there before: of torch's on a GPU, of the process on a CPU
(Linux), each way in a process of its own. Last comes an image of 500 x 375 from end to end.
"""

import argparse
import multiprocessing
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from timing import fastest, memory_of
from torch import Tensor
from torch.nn import functional as F

from cast_exp.data import Scene
from cast_exp.data.datasets import Shapes
from cast_exp.data.scene_samples import SceneSamples
from cast_exp.losses import pixel_cross_entropy
from cast_exp.metrics import BoundaryF
from cast_exp.models import Pooling, SegmentationModel, create_model
from cast_exp.models.heads import SegmentationHead
from cast_exp.models.registry import ModelName
from cast_exp.models.segmentation import Prediction
from cast_exp.ops import contingency
from cast_exp.ops.labels import nearest
from cast_exp.superpixels import Seeds

CLASSES, SIDE, HALF, COUNT = 21, 512, 256, 1024


def segmenter(name: ModelName) -> SegmentationModel:
    torch.manual_seed(0)
    pooling = Pooling((320, 160, 80, 40))
    model = create_model(
        name, pooling=pooling, fusion=True, sampling="interpolated", image_size=SIDE
    )
    return SegmentationModel(model, SegmentationHead(model.dim, CLASSES))


def sparse_loss(
    model: SegmentationModel, images: Tensor, superpixels: Tensor, truth: Tensor
) -> Tensor:
    logits = model(images, superpixels).logits
    return pixel_cross_entropy(logits, nearest(superpixels, *truth.shape[-2:]), truth)


def name_classes(model: SegmentationModel, scene: Scene) -> Prediction:
    return model.predict(scene.image, scene.superpixels, scene.full_superpixels, last_grouping=True)


def dense_loss(
    model: SegmentationModel, images: Tensor, superpixels: Tensor, truth: Tensor
) -> Tensor:
    return F.cross_entropy(dense_scores(model, images, superpixels), truth, ignore_index=255)


def dense_scores(model: SegmentationModel, images: Tensor, superpixels: Tensor) -> Tensor:
    fused = model.backbone(images, superpixels, last_grouping=False).fused
    assert fused is not None
    index = superpixels.flatten(1)[..., None].expand(-1, -1, fused.size(-1))
    scores = model.head(fused.gather(1, index), torch.zeros_like(index[..., 0]).bool())
    grid = scores.view(*superpixels.shape, -1).permute(0, 3, 1, 2)
    return F.interpolate(grid, scale_factor=2, mode="bilinear", align_corners=False)


def steps(name: ModelName, batch: int, device: str) -> dict[str, Callable[[], object]]:
    """A training step and an evaluation in both ways."""
    model = segmenter(name).to(device)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    images = torch.rand(batch, 3, SIDE, SIDE)
    superpixels = Seeds(COUNT, 5, 15)(F.interpolate(images, HALF)).to(device)
    truth = torch.randint(CLASSES, (batch, SIDE, SIDE), device=device)
    images = images.to(device)

    def train(loss: Callable[..., Tensor]) -> None:
        model.train()
        optimizer.zero_grad()
        loss(model, images, superpixels, truth).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @torch.no_grad()
    def sparse_table() -> Tensor:
        model.eval()
        best = model(images, superpixels).logits.argmax(-1)
        offsets = COUNT * torch.arange(batch, device=device)[:, None, None]
        rows = nearest(superpixels, SIDE, SIDE) + offsets
        pixels = contingency(rows, truth, (batch * COUNT, CLASSES))
        return pixels.new_zeros(CLASSES, CLASSES).index_add(1, best.flatten(), pixels.T)

    @torch.no_grad()
    def dense_table() -> Tensor:
        model.eval()
        best = dense_scores(model, images, superpixels).argmax(1)
        return contingency(truth, best, (CLASSES, CLASSES))

    return {
        "training step, dense": partial(train, dense_loss),
        "training step, ours": partial(train, sparse_loss),
        "evaluation, dense": dense_table,
        "evaluation, ours": sparse_table,
    }


def peak(way: str, name: ModelName, batch: int, device: str) -> float:
    """MiB that one call takes at most, beyond what was there before."""
    return memory_of(steps(name, batch, device)[way], device)


def one_image(name: ModelName, device: str, rounds: int) -> None:
    """Where the time of one image goes."""
    model = segmenter(name).to(device).eval()
    dataset = Shapes("val", size=500, creatures=3)
    item = dataset[0]
    item["image"] = item["image"].crop((0, 0, 500, 375))
    item = {"image": item["image"], "label": 0, "semantic": item["semantic"][:375]}
    method = Seeds(COUNT, 5, 15)
    samples = SceneSamples(dataset, method, SIDE, "long_side")
    pixels = torch.from_numpy(np.array(item["image"])).permute(2, 0, 1)[None] / 255
    scene = samples.make(item, None, 0)["scene"].to(device)  # type: ignore[arg-type]
    boundary = BoundaryF(CLASSES)
    truth = torch.as_tensor(scene.truth["semantic"]).long()

    def everything() -> None:
        made = samples.make(item, None, 0)["scene"].to(device)  # type: ignore[arg-type]
        predicted = name_classes(model, made)
        contingency(predicted.superpixels, truth, (len(predicted.scores), CLASSES))
        boundary.update(predicted.pixels, truth)

    predicted = name_classes(model, scene)
    times = fastest(
        {
            "superpixels": lambda: method(pixels),
            "scene (superpixels, resizing)": lambda: samples.make(item, None, 0),  # type: ignore[arg-type]
            "network": lambda: name_classes(model, scene),
            "boundary F": lambda: boundary.update(predicted.pixels, truth),
            "everything": everything,
        },
        rounds,
    )
    print(f"\none image of 500 x 375, {scene.count} superpixels")
    for part, seconds in times.items():
        print(f"{part:>30}: {1e3 * seconds:7.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cast_small")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ways = steps(options.model, options.batch, device)

    def waited(run: Callable[[], object]) -> None:
        run()
        if device == "cuda":
            torch.cuda.synchronize()

    times = fastest({way: partial(waited, run) for way, run in ways.items()}, options.rounds)
    context = multiprocessing.get_context("spawn")
    print(f"{options.model}, batch {options.batch}, {device}, {torch.get_num_threads()} threads")
    for way, seconds in times.items():
        with context.Pool(1) as pool:
            memory = pool.apply(peak, (way, options.model, options.batch, device))
        print(f"{way:>22}: {1e3 * seconds:8.0f} ms {memory:8.0f} MiB")
    one_image(options.model, device, options.rounds)


if __name__ == "__main__":
    main()
