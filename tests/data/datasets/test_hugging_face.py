"""Data sets that the library datasets has written itself; nothing of the hub is fetched."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import Features, Image, Value
from support.sources import CLASSES, IMAGES, encoded, tables

from cast_exp.data.datasets import HuggingFace, UnreadableImage
from cast_exp.errors import UserError

SPLITS = {"train": "train", "val": "validation"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tables(encoded(tmp_path_factory.mktemp("images")))


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def arrow(made: Any, root: Path) -> Path:
    made.save_to_disk(root)
    return root


def parquet(made: Any, root: Path) -> Path:
    root.mkdir(exist_ok=True)
    for split, table in made.items():
        for shard in range(2):
            part = table.shard(2, shard, contiguous=True)
            part.to_parquet(root / f"{split}-{shard:05}-of-00002.parquet")
    return root


@pytest.mark.parametrize("write", [arrow, parquet])
def test_images_and_classes_are_those_of_the_library(
    write: Callable[..., Path], made: Any, tmp_path: Path
) -> None:
    root = write(made, tmp_path / "set")
    for split, name in SPLITS.items():
        data = pickle.loads(pickle.dumps(HuggingFace(split, root)))
        assert data.classes == [*CLASSES]
        assert len(data) == IMAGES[split]
        for index, row in enumerate(made[name]):
            assert np.array_equal(data[index]["image"], row["image"])
            assert data[index]["label"] == row["label"]
        assert all(Path(file).is_file() for file in data.files())
    assert data.path(3) == f"{root}[validation] 3"
    assert HuggingFace("train", root, label=None).classes == ["image"]
    shared = [HuggingFace(split, root, val=None, held_out=0.3) for split in SPLITS]
    assert sum(map(len, shared)) == IMAGES["train"]


def written(root: Path, features: Features, columns: dict[str, list[Any]]) -> Path:
    table = datasets.Dataset.from_dict(columns, features)
    return arrow(datasets.DatasetDict({"train": table, "validation": table}), root)


@pytest.mark.parametrize(
    ("kind", "labels", "classes", "numbers"),
    [
        (Value("string"), ["bee", "ant", "bee"], ["ant", "bee"], [1, 0, 1]),
        (Value("int32"), [2, 0, 2], ["0", "1", "2"], [2, 0, 2]),
    ],
)
def test_bytes_are_images_and_names_and_numbers_are_classes(
    kind: Value,
    labels: list[Any],
    classes: list[str],
    numbers: list[int],
    made: Any,
    tmp_path: Path,
) -> None:
    encoded = [
        row["bytes"] for row in made["train"].cast_column("image", Image(decode=False))[:3]["image"]
    ]
    features = Features(photo=Value("binary"), kind=kind)
    root = written(tmp_path / "set", features, {"photo": encoded, "kind": labels})
    data = HuggingFace("train", root, image="photo", label="kind")
    assert (data.classes, [data[index]["label"] for index in range(3)]) == (classes, numbers)
    assert np.array_equal(data[1]["image"], made["train"][1]["image"])


def test_bad_rows_are_unreadable_and_missing_labels_told(made: Any, tmp_path: Path) -> None:
    features = Features(image=Image(), label=Value("int64"))
    images = [{"bytes": b"no image", "path": None}, None, {"bytes": b"", "path": None}]
    root = written(tmp_path / "set", features, {"image": images, "label": [0, None, -1]})
    with pytest.raises(
        UserError, match=r"2 of the 3 images in .*\[train\] have no label, first 1;"
    ):
        HuggingFace("train", root)
    data = HuggingFace("train", root, label=None)
    for index in range(3):
        with pytest.raises(UnreadableImage, match=rf"set\[train\] {index}: "):
            data[index]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": "test"}, r"no split 'test' \(data\.dataset\.val, null .*options are train, val"),
        ({"train": "trian"}, r"no split 'trian' \(data\.dataset\.train\); did you mean train\?"),
        ({"image": "img"}, r"no column 'img' \(data\.dataset\.image\); did you mean image\?"),
        ({"image": "label"}, r"holds no images but ClassLabel.*; options are image"),
        ({"label": "lable"}, r"no column 'lable' \(data\.dataset\.label.*did you mean label\?"),
        ({"label": "image"}, "the classes of images are ClassLabel, integers or names"),
        ({"root": None}, r"data\.root is not set"),
        ({"root": Path("/no/such")}, "no folder /no/such"),
        ({"root": Path("no-one/has-this")}, r"cannot load data\.root=no-one/has-this \("),
    ],
)
def test_mistakes_are_told(
    options: dict[str, Any], message: str, made: Any, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as told:
        HuggingFace("train", **{"root": arrow(made, tmp_path / "set")} | options)
    assert "\n" not in str(told.value)


def test_the_library_is_optional(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'cast-exp\[huggingface\]'"):
        HuggingFace("train", tmp_path)


def test_splits_of_other_classes_are_refused(made: Any, tmp_path: Path) -> None:
    other = made["validation"].cast_column("label", datasets.ClassLabel(names=["x", "y", "z"]))
    root = arrow(datasets.DatasetDict(made | {"validation": other}), tmp_path / "set")
    with pytest.raises(UserError, match="the classes of the splits"):
        HuggingFace("train", root)
