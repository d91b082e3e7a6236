"""What tells files from those that were in their place before."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import tiny_data
from support.probe_run import images
from support.voc import voc_tree

from cast_exp.data import datasets
from cast_exp.data.datasets import RawDataset
from cast_exp.data.file_states import file_states


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name in ("b/1.jpg", "a/2.jpg", "a/1.jpg", "a/other.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(0, 10**18))
    return [str(tmp_path / name) for name in ("b/1.jpg", "a/2.jpg", "a/1.jpg", "a/gone.jpg", "x 3")]


def rewrite(path: Path) -> None:
    path.write_text("another")  # as long as before
    os.utime(path, ns=(0, 10**18 + 1))


def enlarge(path: Path) -> None:
    path.write_text("longer than before")
    os.utime(path, ns=(0, 10**18))


@pytest.mark.parametrize("change", [rewrite, enlarge, Path.unlink])
def test_a_change_of_any_file_shows(
    files: list[str], change: Callable[[Path], None], tmp_path: Path
) -> None:
    before = file_states(files)
    assert file_states(iter(files)) == before
    change(tmp_path / "a/other.txt")
    assert file_states(files) == before, "it is none of them"
    for path in map(Path, files[:3]):
        content, state = path.read_bytes(), path.stat()
        change(path)
        assert file_states(files) != before
        path.write_bytes(content)
        os.utime(path, ns=(0, state.st_mtime_ns))
        assert file_states(files) == before
    Path(files[3]).touch()
    assert file_states(files) != before


def test_order_and_names_count(files: list[str]) -> None:
    assert len({file_states(f) for f in (files, files[::-1], files[1:], [*files, "y"], [])}) == 5


def test_a_link_has_the_state_of_its_file(files: list[str], tmp_path: Path) -> None:
    link = tmp_path / "b" / "link.jpg"
    link.symlink_to(files[1])
    before = file_states([str(link)])
    rewrite(Path(files[1]))
    assert (changed := file_states([str(link)])) != before
    Path(files[1]).unlink()
    assert file_states([str(link)]) not in (before, changed)


_hears: set[str] | None = None


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _hears is not None and isinstance(arguments[0], str | Path):
        _hears.add(str(arguments[0]))


sys.addaudithook(_hear)


@contextmanager
def opened(root: Path) -> Iterator[set[str]]:
    """The files below a folder that are opened."""
    global _hears
    heard = _hears = set()
    below: set[str] = set()
    try:
        yield below
    finally:
        _hears = None
        below |= {path for path in heard if path.startswith(str(root)) and Path(path).is_file()}


TREES: list[tuple[Callable[..., RawDataset], Callable[[Path], Path]]] = [
    (datasets.ImageFolder, tiny_data.imagenet_tree),
    (partial(datasets.ImageFolder, labelled=False, val=None), tiny_data.imagenet_tree),
    (datasets.CIFAR10, tiny_data.cifar10_tree),
    (
        partial(datasets.VOCFolder, classes=["background", "b", "c"]),
        partial(voc_tree, objects=True),
    ),
    (datasets.VOCAugmented, tiny_data.voc_aug_tree),
    (datasets.BSDS500, tiny_data.bsds500_tree),
    (datasets.DensePose, tiny_data.densepose_tree),
    (datasets.PartImageNet, tiny_data.part_imagenet_tree),
]


@pytest.mark.parametrize(("dataset", "tree"), TREES)
@pytest.mark.parametrize("split", ["train", "val"])
def test_all_files_that_a_data_set_reads_are_known(
    dataset: Callable[..., Any], tree: Callable[[Path], Path], split: str, tmp_path: Path
) -> None:
    root = tree(tmp_path)
    dataset(split=split, root=root)  # which may prepare the data
    with opened(root) as read:
        data = dataset(split=split, root=root)
        for index in range(len(data)):
            data[index]
    lists = {path for path in read if path.endswith(".txt")}  # they give the names and their order
    assert set(data.files()) == read - lists
    assert [path for path in data.files() if path in map(data.path, range(len(data)))] == [
        data.path(index) for index in range(len(data))
    ]


def test_the_identity_of_data_has_their_files(tmp_path: Path) -> None:
    root = tiny_data.imagenet_tree(tmp_path)
    module = partial(images, dataset=datasets.ImageFolder, root=root)
    before = {split: module().identity(split) for split in ("train", "val")}
    path = next((root / "val").rglob("*.JPEG"))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert module().identity("train") == before["train"]
    assert module().identity("val") != before["val"]
