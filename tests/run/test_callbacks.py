"""Which callbacks a run has, by what its data allow and its task logs."""

import logging
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.tiny_run import Blots

from cast_exp.callbacks import HierarchyImages, KNNMonitor, LinearProbeMonitor
from cast_exp.data import ImageDataModule, RawDataModule, SceneDataModule, TwoViews
from cast_exp.data.datasets import ImageFolder
from cast_exp.run.callbacks import build_callbacks
from cast_exp.superpixels import Grid

CALLBACKS = "cast_exp.callbacks"
CHECKPOINT = {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "mode": "max"}
NODES = {
    "knn": {"_target_": f"{CALLBACKS}.KNNMonitor"},
    "probe": {"_target_": f"{CALLBACKS}.LinearProbeMonitor"},
    "pictures": {"_target_": f"{CALLBACKS}.HierarchyImages"},
    "last": CHECKPOINT,
    "recent": CHECKPOINT | {"monitor": "step"},
    "best": CHECKPOINT | {"monitor": "val/knn"},
    "best_probe": CHECKPOINT | {"monitor": "val/probe"},
    "own": CHECKPOINT | {"monitor": "val/figure_of_a_user"},
}


class Logs:
    """A task, as far as it matters here."""

    def __init__(self, *figures: str) -> None:
        self.figures = figures


def folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(root / name)
    return root


def images(root: Path | None, dataset: Any = ImageFolder) -> ImageDataModule:
    return ImageDataModule(dataset, TwoViews(16), Grid(4), root)


def kept(
    data: RawDataModule,
    nodes: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    task: Any = None,
) -> tuple[list[str], list[str]]:
    """Names of what is kept, in order, and the lines that say what is off."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        callbacks = build_callbacks(nodes, data, task or Logs())
    names = []
    for callback in callbacks:
        kind = type(callback).__name__
        names.append(getattr(callback, "monitor", None) or kind)
    return names, [record.getMessage() for record in caplog.records]


ALL = [
    *("KNNMonitor", "LinearProbeMonitor", "HierarchyImages", "ModelCheckpoint", "step"),
    *("val/knn", "val/probe", "val/figure_of_a_user"),
]
WITHOUT_CLASSES = ["HierarchyImages", "ModelCheckpoint", "step", "val/figure_of_a_user"]


def test_images_with_classes_leave_all_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder(tmp_path, *(f"{split}/{name}/1.png" for split in ("train", "val") for name in "ab"))
    assert kept(images(tmp_path), NODES, caplog) == (ALL, [])
    assert kept(images(None, Blots), NODES, caplog) == (ALL, []), "cannot tell what is present"
    assert kept(images(tmp_path), NODES | {"knn": None, "best": None}, caplog)[1] == []


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("train/a/1.png", "val/a/2.png"), "the images have no classes to tell apart"),
        (
            ("train/a/1.png", "train/b/1.png", "val/c/1.png"),
            "no class has both training and validation images",
        ),
    ],
)
def test_what_needs_classes_goes_with_its_checkpoints(
    names: tuple[str, ...], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = images(folder(tmp_path, *names))
    off = "callbacks.knn and callbacks.probe and callbacks.best and callbacks.best_probe"
    assert kept(data, NODES, caplog) == (WITHOUT_CLASSES, [f"{off} are off: {reason}"])
    nodes = {"best": NODES["best"], "knn": NODES["knn"]}
    assert kept(data, nodes, caplog)[0] == [], "in whatever order they stand"


def test_a_figure_that_the_task_logs_may_be_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = images(folder(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/1.png"))
    nodes = {"best": NODES["best"]}
    assert kept(data, nodes, caplog, Logs("val/knn")) == (["val/knn"], [])
    off = ["callbacks.best is off: nothing in this run logs val/knn"]
    assert kept(data, nodes, caplog, Logs("val/top1")) == ([], off)
    supervised = {"best": CHECKPOINT | {"monitor": "val/top1"}}
    assert kept(data, supervised, caplog, Logs("val/top1"))[0] == ["val/top1"]
    assert kept(data, supervised, caplog, Logs())[0] == []
    silent = Logs()
    silent.figures = None
    assert kept(data, supervised, caplog, silent)[0] == ["val/top1"], "it may well log it"


def test_no_validation_images_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def dataset(split: Any, root: Path) -> ImageFolder:
        return ImageFolder(split, root, val=None, held_out=0)

    data = images(folder(tmp_path, "train/a/1.png", "train/b/1.png"), dataset)
    names, lines = kept(data, NODES, caplog)
    assert names == ["ModelCheckpoint", "step", "val/figure_of_a_user"]
    assert any("callbacks.pictures is off: there are no val images" in line for line in lines)
    assert "there are no validation images" in "".join(lines)
    assert HierarchyImages(split="train").obstacle(data) is None


def test_scenes_have_classes_of_pixels() -> None:
    for monitor in (KNNMonitor(), LinearProbeMonitor()):
        assert "of pixels" in str(monitor.obstacle(SceneDataModule(Blots, Grid(4))))
