"""What two views of an image with superpixels cost a loader worker, in each mode.

    python benchmarks/loader.py DIR

DIR holds photographs as for data=image_folder: train/<class>/*.jpg. The time is that which one
worker process spends on a core for a sample, all of it included: reading, decoding, views,
superpixels, batches and handing them over; not its start. With a GPU, follow images/s of workers on
all cores and the device together. The second table is of images without augmentation, from the
second time that they are looked at.
"""

import argparse
import gc
import os
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import torch
from PIL import ImageFilter
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from cast_exp.data import ImageDataModule, TwoViews
from cast_exp.data.datasets import ImageFolder
from cast_exp.superpixels import FastSlic, Seeds, Slic

BATCH = 64


class ByHand(Dataset[Any]):
    """The same by torchvision's transforms and OpenCV's SEEDS, as in the official release."""

    def __init__(self, root: Path) -> None:
        self.images = ImageFolder("train", root)
        self.views = [
            v2.Compose(
                [
                    v2.RandomResizedCrop(224),
                    v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
                    v2.RandomGrayscale(p=0.2),
                    v2.RandomApply([v2.Lambda(_blur)], p=blur),
                    v2.RandomSolarize(threshold=128, p=solarize),
                    v2.RandomHorizontalFlip(),
                    v2.PILToTensor(),
                ]
            )
            for blur, solarize in ((1.0, 0.0), (0.1, 0.2))
        ]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        image = self.images[index]["image"].convert("RGB")
        views = [view(image) for view in self.views]
        return [*views, *map(_seeds, views)]


def _blur(image: Any) -> Any:
    return image.filter(ImageFilter.GaussianBlur(torch.empty(1).uniform_(0.1, 2.0).item()))


def _seeds(view: Tensor) -> Tensor:
    lab = cv2.cvtColor(view.movedim(0, -1).numpy(), cv2.COLOR_RGB2LAB)
    seeds = cv2.ximgproc.createSuperpixelSEEDS(224, 224, 3, 196, 1, 2, 15, False)
    seeds.iterate(lab, 20)
    return torch.from_numpy(seeds.getLabels()).short()


def by_hand(root: Path) -> DataLoader[Any]:
    return DataLoader(
        ByHand(root), BATCH, shuffle=True, num_workers=1, drop_last=True, persistent_workers=True
    )


def ours(root: Path, **options: Any) -> ImageDataModule:
    return ImageDataModule(ImageFolder, TwoViews(), root=root, **options)


MODES: dict[str, dict[str, Any]] = {
    "SEEDS": {"superpixel": Seeds()},
    "SLIC": {"superpixel": Slic()},
    "data.superpixels_on=device": {"superpixel": Slic(), "superpixels_on": "device"},
    "data.augment_on=device": {
        "superpixel": Slic(),
        "superpixels_on": "device",
        "augment_on": "device",
    },
}
PLAIN: dict[str, dict[str, Any]] = {
    "SEEDS": {"superpixel": Seeds()},
    "data.cache_superpixels=true": {"superpixel": Seeds(), "cache_superpixels": True},
    "data.superpixels_on=device": MODES["data.superpixels_on=device"],
}
if FastSlic.is_installed():
    MODES["fast_slic"] = {"superpixel": FastSlic()}


Loads = dict[str, Callable[[], Any]]
"""What makes a loader of one worker, by its name in the table."""


def core_ms(load: Callable[[], Any]) -> float:
    """Milliseconds of a core that the worker of a loader spends on a sample, its start left out."""
    (short, few), (long, many) = (_spent(load, epochs) for epochs in (1, 4))
    return 1e3 * (long - short) / ((many - few) * BATCH)


def _spent(load: Callable[[], Any], epochs: int) -> tuple[float, int]:
    """Seconds of a core that a worker spends on some epochs, and their batches."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    loader = load()
    batches = sum(1 for _ in range(epochs) for _ in loader)
    del loader
    gc.collect()  # ends the worker
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, batches


def fastest(loads: Loads, rounds: int) -> dict[str, float]:
    """The least milliseconds of a core of several rounds, in which each loader has its turn."""
    times = [{name: core_ms(load) for name, load in loads.items()} for _ in range(rounds)]
    return {name: min(found[name] for found in times) for name in loads}


def images_per_second(data: ImageDataModule) -> float:
    """Of the second of two epochs, with all workers and a GPU."""
    loader = data.train_dataloader()
    for _ in range(2):
        images, start = 0, time.perf_counter()
        for batch in loader:
            images += len(data.prepare(batch, "cuda")["index"])
        torch.cuda.synchronize()
    return images / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--modes", nargs="+", choices=[*MODES], default=[*MODES])
    arguments = parser.parse_args()
    root: Path = arguments.root
    views: Loads = {"torchvision's transforms, OpenCV's SEEDS": lambda: by_hand(root)}
    for name in arguments.modes:
        views[name] = ours(root, workers=1, batch_size=BATCH, **MODES[name]).train_dataloader
    cuda = torch.cuda.is_available()
    table = Table("two views of 224 pixels", "ms of a core", "images/s with a GPU")
    for name, milliseconds in fastest(views, arguments.rounds).items():
        speed = "not run here"
        if cuda and name in MODES:
            data = ours(root, batch_size=256, **MODES[name])
            speed = f"{images_per_second(data):,.0f}"
        table.add_row(name, f"{milliseconds:.1f}", speed)
    Console().print(table)
    table = Table("images of 224 pixels as they are", "ms of a core")
    with TemporaryDirectory() as cache:
        os.environ["CAST_EXP_CACHE"] = cache
        plain: Loads = {}
        for name, options in PLAIN.items():
            data = ours(root, workers=1, **options)
            plain[name] = partial(data.plain_dataloader, "train", None, BATCH, persistent=True)
            _spent(plain[name], 1)  # fills the cache
        for name, milliseconds in fastest(plain, arguments.rounds).items():
            table.add_row(name, f"{milliseconds:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
