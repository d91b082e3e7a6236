"""Checks a data set before a run: the command `check`."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from cast_exp.cli.parsers import check_options
from cast_exp.config import listed, mistakes
from cast_exp.data.base import RawDataModule, available_cores
from cast_exp.data.class_pixels import class_faults, class_pixels
from cast_exp.data.datasets.base import NoSuchSplit, RawDataset, Split, UnreadableImage
from cast_exp.data.datasets.image_kinds import PLAIN, ImageKind
from cast_exp.data.datasets.images import ValueRange, to_rgb
from cast_exp.data.datasets.streamed import StreamedImages
from cast_exp.data.loader import start_worker
from cast_exp.data.recognition import recognition_obstacle
from cast_exp.data.scene_datamodule import SceneDataModule
from cast_exp.errors import UserError
from cast_exp.plugins import LIGHTNING, allow
from cast_exp.run.build import build
from cast_exp.run.tree import compose, config_tree
from cast_exp.run.trust import check_config_dir, users_plugins

_CONFIG = "train"
_NODES = ["data", "superpixel", "compat", "seed"]  # of which data is made
_WRONG = "[red]wrong[/]"
_MOST_ROWS = 21  # all classes of Pascal VOC


def main(arguments: Sequence[str]) -> int:
    """Check the data that the overrides name; the exit code.

    Raises:
        UserError: Mistakes in the overrides.
    """
    options = check_options(arguments)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cast_exp").setLevel(logging.INFO)
    data = build(composed(options.overrides, options.config_dir).data)
    console = Console()
    splits: tuple[Split, ...] = ("train", "val")
    told: list[str] = []
    good = [check_split(data, split, console, told) for split in splits]
    of_images = all(good) and not isinstance(data, SceneDataModule)
    if of_images and (obstacle := recognition_obstacle(data)):
        console.print(f"no figures of recognition, such as kNN: {obstacle}", soft_wrap=True)
    return 0 if all(good) else 1


def composed(overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    """The config of a run, of which all that data is made of has been validated.

    Args:
        overrides: Those of the run; `plugins` among them applies to this process.
        config_dir: A folder of the user's with more config files.

    Raises:
        UserError: Mistakes in the overrides.
    """
    check_config_dir(config_dir)
    with config_tree(extra=config_dir) as place:
        config = compose(_CONFIG, overrides)
        allow(*users_plugins(overrides, place), *LIGHTNING)
    nodes = _NODES + ["augmentation"] * ("views" in config.data)
    if found := mistakes(OmegaConf.masked_copy(config, nodes), _schema):
        raise UserError(listed(found))
    return config


def _schema(data: RawDataModule, **others: Any) -> None:
    """What the validator shall make of the config: data is wanted, the others are referred to."""


def check_split(
    data: RawDataModule, split: Split, console: Console, told: list[str] | None = None
) -> bool:
    """Read all images of a split and report on them; whether all is well.

    A split that the data set is configured without is well.

    Args:
        data: Has the split.
        split: Which.
        console: What the report goes to.
        told: Why other splits could not be read, which is not repeated; this one's is added.
    """
    told = [] if told is None else told
    try:
        dataset = data.raw(split)
    except NoSuchSplit:
        console.print(f"[bold]{split}[/]: none")
        return True
    except UserError as error:
        known = str(error) in told
        reason = "cannot be read, for the same reason" if known else escape(str(error))
        console.print(f"[bold]{split}[/]: [red]{reason}[/]", soft_wrap=True)
        told.append(str(error))
        return False
    on_pixels = isinstance(data, SceneDataModule)
    names: list[str] = getattr(dataset, "semantic_classes", []) if on_pixels else dataset.classes
    images = _Images(dataset, len(names), on_pixels, data.value_range)
    readable, counts, kinds, faults = _read(images, split, console)
    found = readable + len(faults)
    ended_early = any(fault.startswith(_WRONG) for fault in faults)  # what is streamed, then
    present = int((counts[:-1] > 0).sum())
    drawn = " (held out of the training images)" if split == "val" and data.held_out(split) else ""
    void = ""
    if on_pixels and counts.any():
        void = f", {counts[-1] / counts.sum():.2%} of the pixels void"
    console.print(
        f"[bold]{split}[/]{drawn}: {readable} readable images, {present} of {len(names)} classes"
        f"{void}"
    )
    if names:
        console.print(_table(names, counts[:-1], on_pixels))
    for kind in kinds:
        console.print(kind.line, soft_wrap=True, highlight=False)
    if data.value_range is None:
        faults += [kind.fault for kind in kinds if kind.fault]
    if on_pixels and names:
        strange = class_faults(counts, names, sampled=split == "val")
        faults += [f"{_WRONG} {escape(fault)}" for fault in strange]
    for fault in faults:
        console.print(fault, soft_wrap=True, highlight=False)
    there, expected = data.count(split)
    if isinstance(dataset, StreamedImages) and found != there and not ended_early:
        console.print(
            f"[red]the stream has {found} images[/], and data.dataset.images.{split} says "
            f"{there}; set it to {found}",
            soft_wrap=True,
        )
        return False
    if there != expected:
        console.print(
            f"[red]{there} files, expected {expected}[/]; for a part of the data set, set "
            "data.expected_images=null",
            soft_wrap=True,
        )
    return not faults and there == expected


class _Images(Dataset[Any]):
    """Item ``i`` is what image ``i`` is and shows, or says what is wrong with it.

    Args:
        dataset: The images.
        classes: Number of classes.
        on_pixels: Whether classes are those of pixels or of images.
        value_range: See `DeepImage`.
    """

    def __init__(
        self, dataset: RawDataset, classes: int, on_pixels: bool, value_range: ValueRange | None
    ) -> None:
        self.dataset = dataset
        self.classes = classes
        self.on_pixels = on_pixels
        self.value_range = value_range

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[NDArray[np.int64], ImageKind] | str:
        """The counts of the classes, void last, and the kind of the image."""
        try:
            item = self.dataset[index]
            to_rgb(item["image"], self.value_range, self.dataset.path(index))
        except UnreadableImage as error:
            return f"[red]unreadable[/] {escape(str(error))}"
        except UserError as error:
            return f"{_WRONG} {escape(str(error))}"
        if self.on_pixels:
            counts = class_pixels(item.get("semantic", np.empty(0, np.uint8)), self.classes)
        else:
            counts = np.bincount([item["label"]], minlength=self.classes + 1)
        return counts, ImageKind.of(item["image"], self.value_range)


class _Passing(IterableDataset[Any]):
    """Those of `_Images` whose images are streamed."""

    def __init__(self, images: _Images) -> None:
        self.images = images

    def __iter__(self) -> Iterator[Any]:
        info, stream = get_worker_info(), self.images.dataset
        assert info is not None
        assert isinstance(stream, StreamedImages)
        try:
            for number in stream.passing(stream.share(info.id, info.num_workers)):
                yield self.images[number]
        except UserError as error:
            yield f"{_WRONG} {escape(str(error))}"


def _read(
    images: _Images, split: Split, console: Console
) -> tuple[int, NDArray[np.int64], list[ImageKind], list[str]]:
    """Decode all images, on all cores: how many can be read, their classes, kinds and faults."""
    stream = isinstance(images.dataset, StreamedImages)
    loader = DataLoader(
        _Passing(images) if stream else images,
        batch_size=32,
        num_workers=available_cores(),
        collate_fn=list,
        worker_init_fn=start_worker,
    )
    readable, counts = 0, np.zeros(images.classes + 1, np.int64)
    faults: list[str] = []
    kinds: dict[str, ImageKind] = {}
    for batch in track(loader, f"reading {split}", console=console, transient=True):
        for item in batch:
            if isinstance(item, str):
                faults.append(item)
            else:
                readable += 1
                found, kind = item
                counts += found
                kinds[kind.name] = kinds[kind.name] + kind if kind.name in kinds else kind
    return readable, counts, [kinds[name] for name in sorted(kinds) if name != PLAIN], faults


def _table(classes: list[str], counts: NDArray[np.int64], on_pixels: bool) -> Table:
    """Size of each class; of many classes the smallest, the median and the largest."""
    table = Table("class", "share of pixels" if on_pixels else "images")
    shown = list(range(len(classes)))
    if len(classes) > _MOST_ROWS:
        shown.sort(key=lambda label: int(counts[label]))
        shown = [shown[0], shown[len(shown) // 2], shown[-1]]
    for label in shown:
        size = f"{counts[label] / max(counts.sum(), 1):.2%}" if on_pixels else str(counts[label])
        table.add_row(classes[label], size)
    return table
