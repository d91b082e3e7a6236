"""Check a data set before a run: ``python -m cast_exp.data.check data=imagenet data.root=...``.

Takes the overrides of ``cast_exp.train``, opens every file of every split and prints the counts,
the unreadable files and the faults of the layout. The exit code is 0 when all is well, 1 when
something is wrong with the data and 2 when it is with the command.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from cast_exp.config import conf_dir, explain, listed, mistakes
from cast_exp.data.base import available_cores
from cast_exp.data.datamodule import ImageDataModule
from cast_exp.data.datasets.base import NoSuchSplit, RawDataset, Split, UnreadableImage
from cast_exp.data.loader import start_worker
from cast_exp.errors import UserError
from cast_exp.run.resolvers import register_resolvers

_CONFIG = "train"
_NODES = ["data", "superpixel", "augmentation", "compat", "seed"]  # of which data is made
_MOST_ROWS = 20


def main(overrides: Sequence[str]) -> int:
    """Check the data that the overrides name; the exit code.

    Raises:
        UserError: Mistakes in the overrides.
    """
    data = instantiate(composed(overrides).data)
    console = Console()
    splits: tuple[Split, ...] = ("train", "val")
    good = [check_split(data, split, console) for split in splits]
    return 0 if all(good) else 1


def composed(overrides: Sequence[str]) -> DictConfig:
    """The config of a run, of which all that data is made of has been validated.

    Raises:
        UserError: Mistakes in the overrides.
    """
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            config: DictConfig = compose(_CONFIG, list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(listed(explain(_CONFIG, overrides, error))) from error
    if found := mistakes(OmegaConf.masked_copy(config, _NODES), _schema):
        raise UserError(listed(found))
    return config


def _schema(data: ImageDataModule, **others: Any) -> None:
    """What the validator shall make of the config: data is wanted, the others are referred to."""


def check_split(data: ImageDataModule, split: Split, console: Console) -> bool:
    """Read all images of a split and report on them; whether all is well.

    A split that the data set is configured without is well.
    """
    try:
        dataset = data.raw(split)
    except NoSuchSplit:
        console.print(f"[bold]{split}[/]: none")
        return True
    except UserError as error:
        console.print(f"[bold]{split}[/]: [red]{error}[/]", soft_wrap=True)
        return False
    counts, unreadable = _read(dataset, f"reading {split}", console)
    console.print(
        f"[bold]{split}[/]: {counts.total()} readable images, {len(counts)} of "
        f"{len(dataset.classes)} classes"
    )
    console.print(_table(dataset.classes, counts))
    for path, reason in unreadable:
        console.print(f"[red]unreadable[/] {path}: {reason}", soft_wrap=True, highlight=False)
    expected = data.expected_images.get(split, len(dataset))
    if len(dataset) != expected:
        console.print(
            f"[red]{len(dataset)} files, expected {expected}[/]; for a part of the data set, set "
            "data.expected_images=null",
            soft_wrap=True,
        )
    return not unreadable and len(dataset) == expected


class _Labels(Dataset[Any]):
    """Item ``i`` is the label of image ``i``, or (path, reason) if it cannot be decoded."""

    def __init__(self, dataset: RawDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> int | tuple[str, str]:
        try:
            return int(self.dataset[index]["label"])
        except UnreadableImage as error:
            return error.path, error.reason


def _read(
    dataset: RawDataset, title: str, console: Console
) -> tuple[Counter[int], list[tuple[str, str]]]:
    """Decode every image, on all cores: images of each label, and the unreadable files."""
    loader = DataLoader(
        _Labels(dataset),
        batch_size=32,
        num_workers=available_cores(),
        collate_fn=list,
        worker_init_fn=start_worker,
    )
    counts: Counter[int] = Counter()
    unreadable = []
    for batch in track(loader, title, console=console, transient=True):
        for item in batch:
            if isinstance(item, int):
                counts[item] += 1
            else:
                unreadable.append(item)
    return counts, unreadable


def _table(classes: list[str], counts: Counter[int]) -> Table:
    """Readable images of each class; of many classes the smallest, the median and the largest."""
    table = Table("class", "images")
    shown = list(range(len(classes)))
    if len(classes) > _MOST_ROWS:
        shown.sort(key=lambda label: counts[label])
        shown = [shown[0], shown[len(shown) // 2], shown[-1]]
    for label in shown:
        table.add_row(classes[label], str(counts[label]))
    return table


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
