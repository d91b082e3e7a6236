"""Put the images of a data set into one file per split, which reads faster than a folder.

``cast-exp pack data=imagenet data.root=DIR --out DIR`` takes the overrides of ``cast_exp.train``
and writes a tar for each split, with its index beside it; ``data.root=`` of their folder reads
them. Files are copied as they are unless ``--short-side`` is given. If it is interrupted, the same
command goes on. The exit code is 0 when all is well, 1 when ``--verify`` finds damage and 2 when
something is wrong with the command or the disk.
"""

import argparse
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Subset

from cast_exp.cli.check import composed
from cast_exp.data.base import RawDataModule, available_cores
from cast_exp.data.datasets.base import NoSuchSplit, Split
from cast_exp.data.datasets.image_folder import ImageFolder
from cast_exp.data.datasets.tars import Tar
from cast_exp.data.datasets.trees import ImageTree
from cast_exp.data.loader import start_worker
from cast_exp.data.packing import JPEG_QUALITY, EncodedImages, write_pack
from cast_exp.errors import UserError
from cast_exp.run.build import build
from cast_exp.run.options import add_config_dir, given_path, plain

_BATCH = 32  # images that a worker hands over together


def main(arguments: Sequence[str]) -> int:
    """Pack the data that the overrides name, or verify packs; the exit code.

    Raises:
        UserError: Mistakes in the overrides, and whatever `write_pack` raises.
    """
    parser = argparse.ArgumentParser("cast-exp pack", description=plain(__doc__))
    parser.add_argument("overrides", nargs="*", help="those of cast_exp.train")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--out", type=given_path, metavar="DIR", help="where the packs go")
    wanted.add_argument("--verify", action="store_true", help="compare packs with their checksums")
    parser.add_argument(
        "--short-side",
        type=int,
        metavar="N",
        help="resize images whose shorter side has more than N pixels (bicubic, as JPEG of quality "
        f"{JPEG_QUALITY}); pictures and figures are then not those of the originals",
    )
    add_config_dir(parser)
    options = parser.parse_args(arguments)
    if options.short_side is not None and options.short_side < 1:
        parser.error("--short-side must be at least 1")
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
