"""Shards of webdataset's own writer, streamed by its reader, against the shards read in place."""

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sources import CLASSES, IMAGES, encoded, write_shards

from cast_exp.data import ImageDataModule, TwoViews
from cast_exp.data.datasets import NoSuchSplit, WebDataset, WebDatasetStream
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream")
    return write_shards(folder / "shards", encoded(folder / "images"))


def stream(split: str, root: Path | None, **options: Any) -> WebDatasetStream:
    return WebDatasetStream(split, root, **{"classes": 3, "images": IMAGES} | options)  # type: ignore[arg-type]


def contents(data: Any, numbers: Any) -> list[tuple[bytes, int]]:
    items = [data[number] for number in numbers]
    return [(np.asarray(item["image"]).tobytes(), item["label"]) for item in items]


@pytest.mark.parametrize(
    "pattern",
    [
        "*{}*.tar",
        "tiny-{}-{{0000..000N}}.tar",
        "file://ROOT/tiny-{}-{{0000..000N}}.tar",
        "pipe:cat ROOT/tiny-{}-{{0000..000N}}.tar",
        ["*{}*0[01].tar", "*{}*0[23]*"],
    ],
)
@pytest.mark.parametrize("split", IMAGES)
def test_samples_are_those_of_the_shards_read_in_place(
    split: str, pattern: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path))
    last = str(-(-IMAGES[split] // 4) - 1)
    if isinstance(pattern, list):
        named: Any = [one.format(split) for one in pattern][: 2 if split == "train" else 1]
    else:
        named = pattern.format(split).replace("N", last).replace("ROOT", str(root))
    local = isinstance(pattern, list) or ":" not in pattern
    data = stream(split, root if local else None, **{split: named})
    assert len(data) == IMAGES[split]
    in_place = WebDataset(split, root)  # type: ignore[arg-type]
    assert contents(data, data.numbers()) == contents(in_place, range(len(in_place)))
    assert data.classes == in_place.classes


def test_compressed_shards_are_read(root: Path, tmp_path: Path) -> None:
    for shard in root.glob("*val*"):
        (tmp_path / f"{shard.name}.gz").write_bytes(gzip.compress(shard.read_bytes()))
    data = stream("val", tmp_path, val="*.tar.gz")
    assert len(data.numbers()) == IMAGES["val"]
    assert data.path(data.numbers()[4]) == f"{tmp_path}/tiny-val-0001.tar.gz, image 0"


def test_labels_are_numbers_or_names_or_none(root: Path) -> None:
    named = stream("val", root, label="json.class", classes=[*CLASSES])
    assert [named.classes[named[number]["label"]] for number in range(3)] == [*CLASSES]
    plain = stream("val", root, label=None, classes=None)
    assert (plain.classes, plain[2]["label"]) == (["image"], 0)
    with pytest.raises(NoSuchSplit):
        stream("val", root, val=None)


def test_workers_share_out_the_shards(root: Path) -> None:
    data = ImageDataModule(
        lambda **kinds: stream(shuffle_buffer=3, **kinds),
        TwoViews(16),
        Grid(4),
        root,
        batch_size=2,
        image_size=16,
        workers=2,
    )
    seen = [number for batch in data.train_dataloader() for number in batch["index"].tolist()]
    assert len(seen) == 12
    assert set(seen) <= set(data.chosen("train").tolist())
    assert len({number >> 32 for number in seen}) >= 3
    (batch,) = data.plain_dataloader("val", 1)
    assert batch["index"].tolist() == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": None}, r"data\.root is not set; give the folder .* data\.dataset\.train"),
        ({"train": "*tarin*.tar"}, r"no shard .*/\*tarin\*\.tar \(tars there: tiny-train-0000.tar"),
        (
            {"train": "/*.tar"},
            r"data\.dataset\.train=/\*\.tar is no pattern of files below data\.root",
        ),
        ({"classes": None}, r"data\.dataset\.classes is not set"),
        ({"label": "class"}, r"no label class \(files of the sample: cls, json, png\)"),
        ({"images": {"val": 5}}, r"data\.dataset\.images\.train is not set"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str, root: Path) -> None:
    with pytest.raises(UserError, match=message) as told:
        stream("train", **{"root": root} | options)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "json.clas"}, r"has no label json\.clas"),
        ({"label": "png.x"}, r"0000\.tar/im/000\.png is not the label it should be"),
        ({"classes": 2}, r"0000\.tar/im/002 has the label '2', which is none of the 2 classes"),
        ({"train": "pipe:cat /no/such/shard.tar"}, r"the shard pipe:cat .* cannot be read"),
        ({"train": "nope://host/shard.tar"}, r"the shard nope://.* cannot be read \(.*handler"),
    ],
)
def test_what_is_wrong_within_shards_is_told(
    options: dict[str, Any], message: str, root: Path
) -> None:
    with pytest.raises(UserError, match=message) as told:
        stream("train", root, **options).numbers()
    assert "\n" not in str(told.value)


def test_a_shard_that_is_cut_short_is_told(root: Path, tmp_path: Path) -> None:
    content = (root / "tiny-train-0000.tar").read_bytes()
    (tmp_path / "train.tar").write_bytes(content[:3000])
    with pytest.raises(UserError, match=r"train\.tar cannot be read"):
        stream("train", tmp_path).numbers()


def test_the_library_is_optional(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(UserError, match=r"pip install 'cast-exp\[webdataset\]'"):
        stream("train", root)
