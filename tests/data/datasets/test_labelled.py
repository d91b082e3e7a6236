from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from PIL import Image
from support.sources import IMAGES
from support.tiny_data import TREES

from cast_exp.data import ImageDataModule, TwoViews
from cast_exp.data.datasets import HuggingFace, NoSuchSplit, Split, UnreadableImage, WebDataset
from cast_exp.data.datasets.held_out import part_of
from cast_exp.data.datasets.labelled import LabelledImages, class_names
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid

COUNT = 40
NAMES = np.array([f"{number}.png" for number in range(COUNT)], np.bytes_)
LABELS = np.arange(COUNT) % 3


class Greys(LabelledImages):
    """Image n is of the grey value n; 7 is damaged."""

    def __init__(self, split: Split, labels: Any = LABELS, held_out: float | None = None) -> None:
        super().__init__(split, "here", NAMES, labels, ["a", "b", "c"], held_out)

    def open_row(self, row: int) -> BinaryIO:
        file = BytesIO()
        Image.new("L", (2, 2), row).save(file, "PNG")
        return BytesIO(file.getvalue()[: 20 if row == 7 else None])

    def row_path(self, row: int) -> str:
        return f"here/{NAMES[row].decode()}"


def greys(data: LabelledImages) -> list[tuple[int, int]]:
    items = [data[index] for index in range(len(data)) if data.path(index) != "here/7.png"]
    return [(item["image"].getpixel((0, 0)), item["label"]) for item in items]


def test_images_keep_their_labels_whole_or_shared_out() -> None:
    expected = [(row, row % 3) for row in range(COUNT) if row != 7]
    assert greys(Greys("train")) == expected
    with pytest.raises(UnreadableImage, match=r"here/7\.png"):
        Greys("train")[7]
    train, val = (Greys(split, held_out=0.3) for split in ("train", "val"))
    part = part_of("val", NAMES.tolist(), 0.3)
    assert greys(val) == [pair for pair in expected if part[pair[0]]]
    assert sorted(greys(train) + greys(val)) == expected
    assert train.held_out == val.held_out == [name.decode() for name in NAMES[part]]
    assert train.present_classes() == {0, 1, 2}
    with pytest.raises(NoSuchSplit):
        Greys("val", held_out=0)


@pytest.mark.parametrize("labels", [LABELS, np.array(list("abc"))[LABELS]])
def test_numbers_and_names_are_the_same_classes(labels: Any) -> None:
    data = Greys("train", labels)
    assert [data[index]["label"] for index in range(6)] == [0, 1, 2, 0, 1, 2]
    assert class_names([labels, labels[:1]]) == (["0", "1", "2"] if labels is LABELS else [*"abc"])
    missing = labels.copy()
    missing[[4, 9]] = "" if labels.dtype.kind == "U" else -1
    with pytest.raises(UserError, match=r"2 of the 40 images in here have no label, first 4\.png"):
        Greys("train", missing)
    assert class_names([missing, labels]) == class_names([labels])


def test_without_labels_there_is_one_class() -> None:
    data = Greys("train", None)
    assert (data.classes, {label for _, label in greys(data)}) == (["image"], {0})


@pytest.mark.parametrize(
    ("option", "dataset"), [("webdataset", WebDataset), ("huggingface", HuggingFace)]
)
def test_batches_and_their_resumption_depend_on_no_worker(
    option: str, dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path / "cache"))
    root = TREES[option](tmp_path / "set")

    def batches(workers: int, done: int = 0) -> list[list[bytes]]:
        data = ImageDataModule(
            dataset, TwoViews(24), Grid(16), root, batch_size=4, image_size=32, workers=workers
        )
        loader = data.train_dataloader()
        loader.load_state_dict({"epoch": 0, "batch": done})
        return [
            [x.numpy().tobytes() for x in (batch["index"], batch["label"], *batch["images"])]
            for batch in loader
        ]

    straight = batches(0)
    assert len(straight) == IMAGES["train"] // 4
    assert batches(2) == straight
    assert batches(2, done=1) == straight[1:]
