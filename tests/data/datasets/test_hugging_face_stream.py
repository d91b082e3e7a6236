"""Parquet files that `datasets` streams, against the same mapped into memory."""

import json
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from support.sources import CLASSES, IMAGES, encoded, tables, write_parquet

from cast_exp.data import ImageDataModule, TwoViews
from cast_exp.data.datasets import (
    HuggingFace,
    HuggingFaceStream,
    NoSuchSplit,
    UnreadableImage,
)
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tables(encoded(tmp_path_factory.mktemp("images")))


@pytest.fixture(scope="module")
def root(made: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parquet(tmp_path_factory.mktemp("parquet"), made)


def stream(split: str, root: Path | None, **options: Any) -> HuggingFaceStream:
    return HuggingFaceStream(split, root, **{"images": IMAGES} | options)  # type: ignore[arg-type]


def contents(data: Any, numbers: Any) -> list[tuple[bytes, int]]:
    items = [data[number] for number in numbers]
    return [(np.asarray(item["image"]).tobytes(), item["label"]) for item in items]


@pytest.mark.parametrize("split", IMAGES)
def test_images_are_those_of_the_table(split: str, root: Path) -> None:
    data = stream(split, root)
    in_memory = HuggingFace(split, root)  # type: ignore[arg-type]
    assert contents(data, data.numbers()) == contents(in_memory, range(len(in_memory)))
    assert data.classes == in_memory.classes == [*CLASSES]
    assert len(data.shards) == (3 if split == "train" else 1)
    assert data.path(data.numbers()[-1]).startswith(f"{root}[")
    with pytest.raises(NoSuchSplit):
        stream("val", root, val=None)


@pytest.mark.parametrize("workers", [0, 2, 4])
def test_workers_share_out_the_files_by_themselves(workers: int, root: Path) -> None:
    """The library shares them out among workers as well, which must not happen twice."""
    data = ImageDataModule(
        lambda **kinds: stream(shuffle_buffer=3, **kinds),
        TwoViews(16),
        Grid(4),
        root,
        batch_size=4,
        image_size=16,
        workers=workers,
    )
    for split, count in IMAGES.items():
        loader = data.plain_dataloader(split)  # type: ignore[arg-type]
        seen = [number for batch in loader for number in batch["index"].tolist()]
        assert sorted(seen) == data.chosen(split).tolist()  # type: ignore[arg-type]
        assert len(seen) == count
    batches = [batch["index"].tolist() for batch in data.train_dataloader()]
    assert [len(batch) for batch in batches] == [4, 4, 4]


def test_bytes_paths_and_names_are_read(made: Any, root: Path, tmp_path: Path) -> None:
    from datasets import Features, Value

    images = made["train"].cast_column("image", datasets.Image(decode=False))[:2]["image"]
    features = Features(photo=Value("binary"), kind=Value("string"))
    columns = {"photo": [image["bytes"] for image in images] + [None], "kind": [*"bab"]}
    table = datasets.Dataset.from_dict(columns, features)
    place = write_parquet(tmp_path / "set", {"train": table})
    options = {"image": "photo", "label": "kind", "images": {"train": 3}}
    data = stream("train", place, classes=["a", "b"], **options)
    assert [data[number]["label"] for number in (0, 1)] == [1, 0]
    assert contents(data, [0])[0][0] == contents(stream("train", root), [0])[0][0]
    with pytest.raises(UnreadableImage, match=r"image 2: .*empty file"):
        data[2]
    with pytest.raises(UserError, match=r"a row of .* has the label 'b', which is none of"):
        stream("train", place, classes=["a"], **options).numbers()
    with pytest.raises(UserError, match=r"data\.dataset\.classes is not set"):
        stream("train", place, **options)
    folder = tmp_path / "folder" / "train"
    for number, image in enumerate(images):
        path = folder / CLASSES[number] / f"{number}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(image["bytes"])
    files = stream("train", folder.parent)
    assert contents(files, files.numbers()) == contents(stream("train", root), [0, 1])


def test_the_number_of_images_is_that_of_the_card(made: Any, tmp_path: Path) -> None:
    place = write_parquet(tmp_path / "set", made)
    with pytest.raises(UserError, match=r"data\.dataset\.images\.train is not set"):
        stream("train", place, images={})
    splits = [{"name": name, "num_bytes": 1, "num_examples": len(made[name])} for name in made]
    card = {"dataset_info": {"splits": splits}}
    (place / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
    for split, images in IMAGES.items():
        assert len(stream(split, place, images={})) == images
    assert len(stream("train", place, images={"train": 7})) == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": "trian"}, r"no split 'trian' \(data\.dataset\.train\); did you mean train\?"),
        ({"image": "img"}, r"no column 'img' \(data\.dataset\.image\); did you mean image\?"),
        ({"label": "lable"}, r"no column 'lable' \(data\.dataset\.label.*did you mean label\?"),
        ({"root": None}, r"data\.root is not set"),
        ({"root": Path("/no/such")}, "no folder /no/such"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str, root: Path) -> None:
    with pytest.raises(UserError, match=message) as told:
        stream("train", **{"root": root} | options)
    assert "\n" not in str(told.value)


def test_what_is_on_the_disk_already_is_not_streamed(made: Any, tmp_path: Path) -> None:
    made.save_to_disk(tmp_path / "saved")
    with pytest.raises(UserError, match="written by save_to_disk; data=huggingface"):
        stream("train", tmp_path / "saved")
    place = write_parquet(tmp_path / "cut", made)
    file = next(place.glob("validation*"))
    data = stream("val", place)
    file.write_bytes(b"PAR1" + file.read_bytes()[:99])
    with pytest.raises(UserError, match=r"datasets cannot read .*cut\[validation\] file 0 \("):
        data.numbers()


def test_the_library_is_optional(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'cast-exp\[huggingface\]'"):
        stream("train", root)
