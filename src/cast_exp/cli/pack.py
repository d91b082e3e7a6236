"""Puts the images of a data set into one file per split: the command `pack`."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Subset

from cast_exp.cli.check import composed
from cast_exp.cli.parsers import pack_options
from cast_exp.data.base import RawDataModule, available_cores
from cast_exp.data.datasets.base import NoSuchSplit, Split
from cast_exp.data.datasets.image_folder import ImageFolder
from cast_exp.data.datasets.tars import Tar
from cast_exp.data.datasets.trees import ImageTree
from cast_exp.data.loader import start_worker
from cast_exp.data.packing import EncodedImages, write_pack
from cast_exp.errors import UserError
from cast_exp.run.build import build

_BATCH = 32  # images that a worker hands over together


def main(arguments: Sequence[str]) -> int:
    """Pack the data that the overrides name, or verify packs; the exit code.

    Raises:
        UserError: Mistakes in the overrides, and whatever `write_pack` raises.
    """
    options = pack_options(arguments)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cast_exp").setLevel(logging.INFO)
    data = build(composed(options.overrides, options.config_dir).data)
    packs = _images(data, options.short_side)
    if options.verify:
        sound = [_verified(images) for images in packs.values()]
        return 0 if all(sound) else 1
    for name, images in packs.items():
        if name != "." and (options.out / name).is_dir():
            raise UserError(
                f"{options.out} has a folder {name}, which would be read in the place of a pack; "
                "give another --out"
            )
        path = options.out / f"{'images' if name == '.' else name.removesuffix('.tar')}.tar"
        write_pack(path, images.names, images.about, partial(_contents, images))
        print(f"{path}: {len(images):,} images, {path.stat().st_size / 2**20:,.1f} MiB")
    return 0


def _images(data: RawDataModule, short_side: int | None) -> dict[str, EncodedImages]:
    """The images of each folder by its name below the root; what is held out is among them.

    Raises:
        UserError: Missing data, a wrong layout, or data that are not plain images.
    """
    trees: dict[str, ImageTree] = {}
    names: dict[str, set[str]] = {}
    splits: tuple[Split, ...] = ("train", "val")
    for split in splits:
        with suppress(NoSuchSplit):
            dataset = data.raw(split)
            if not isinstance(dataset, ImageFolder) or data.root is None:
                raise UserError(
                    f"{type(dataset).__name__} is more than a folder of images; what can be packed "
                    "is data=imagenet, imagenet100, coco, image_folder or unlabelled_folder"
                )
            name = str(dataset.folder.relative_to(data.root))
            trees[name] = dataset.tree
            names.setdefault(name, set()).update(dataset.names())
    return {
        name: EncodedImages(
            tree, sorted(names[name], key=os.fsencode), short_side, data.value_range
        )
        for name, tree in trees.items()
    }


def _verified(images: EncodedImages) -> bool:
    """Compare all images of a pack with their checksums and tell the damaged; whether none is.

    Raises:
        UserError: It is no pack.
    """
    place = images.tree.place
    if not isinstance(images.tree, Tar) or not images.tree.has_checksums:
        raise UserError(f"{place} has no checksums; only what this command has written has them")
    damaged = [content for content in _contents(images) if isinstance(content, str)]
    for fault in damaged:
        print(fault)
    print(f"{place}: {len(images):,} images, {len(damaged)} of them damaged")
    return not damaged


def _contents(images: EncodedImages, start: int = 0) -> Iterator[bytes | str]:
    """The files from one on, read by all cores."""
    loader = DataLoader(
        Subset(images, range(start, len(images))),
        batch_size=_BATCH,
        num_workers=available_cores(),
        collate_fn=list,
        worker_init_fn=start_worker,
    )
    what, console = f"reading {images.tree.place}", Console(stderr=True)
    for batch in track(loader, what, console=console, transient=True):
        yield from batch
