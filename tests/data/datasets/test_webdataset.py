"""Shards of webdataset's own writer, against its own reader."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image
from support.sources import CLASSES, IMAGES, encoded, write_shards

from cast_exp.data.datasets import WebDataset
from cast_exp.errors import UserError

Samples = dict[str, list[tuple[bytes, int]]]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return encoded(tmp_path_factory.mktemp("images"))


@pytest.fixture
def root(samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path / "cache"))
    return write_shards(tmp_path / "shards", samples)


def by_the_library(shards: list[str]) -> Iterator[tuple[bytes, int]]:
    read = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8").to_tuple("png", "cls")
    return ((image.tobytes(), label) for image, label in read)


def contents(data: WebDataset) -> list[tuple[bytes, int]]:
    items = [data[index] for index in range(len(data))]
    return [(np.asarray(item["image"]).tobytes(), item["label"]) for item in items]


@pytest.mark.parametrize("split", IMAGES)
@pytest.mark.parametrize(
    "pattern", ["*{}*.tar", "tiny-{}-{{0000..000N}}.tar", "tiny-{}-000[0-9].tar"]
)
def test_samples_are_those_of_the_library_in_its_order(
    split: str, pattern: str, root: Path
) -> None:
    shards = sorted(str(path) for path in root.glob(f"*{split}*"))
    assert len(shards) > 1
    patterns = {s: pattern.format(s).replace("N", str(-(-IMAGES[s] // 4) - 1)) for s in IMAGES}
    data = WebDataset(split, root, **patterns)
    assert contents(data) == list(by_the_library(shards))
    assert data.classes == ["0", "1", "2"]
    assert data.files() == shards
    assert data.path(4) == f"{shards[1]}/im/004.png"


def test_the_index_is_kept_until_a_shard_changes(root: Path, samples: Samples) -> None:
    before = contents(WebDataset("train", root))
    opened: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tarfile, "open", lambda *_, **__: opened.append("a shard"))
        assert contents(WebDataset("train", root)) == before
    assert not opened
    shutil.rmtree(root)
    write_shards(root, samples | {"train": samples["train"][:6]})
    assert contents(WebDataset("train", root)) == before[:6]


def test_labels_are_names_in_a_json_file_or_none(root: Path) -> None:
    named = WebDataset("val", root, label="json.class")
    assert [named.classes[item["label"]] for item in (named[0], named[1], named[2])] == [*CLASSES]
    assert WebDataset("val", root, label=None).classes == ["image"]
    shared = [WebDataset(split, root, val=None, held_out=0.3) for split in IMAGES]
    assert sum(map(len, shared)) == IMAGES["train"]
    assert all(name.startswith("tiny-train-000") for name in shared[0].held_out)


def rewritten(shard: Path, **files: bytes) -> None:
    with tarfile.open(shard, "w") as archive:
        for name, content in files.items():
            header = tarfile.TarInfo(name.replace("_", "."))
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": "*tarin*.tar"}, r"no shard .*/\*tarin\*\.tar \(tars there: tiny-train-0000.tar"),
        (
            {"train": "/*.tar"},
            r"data\.dataset\.train=/\*\.tar is no pattern of files below data\.root",
        ),
        (
            {"val": "/else/*.tar"},
            r"data\.dataset\.val=/else/\*\.tar is no pattern .*; one is \*val",
        ),
        ({"val": ""}, r"data\.dataset\.val= is no pattern of files"),
        ({"val": "tiny-val-{0000..0009}.tar"}, r"no shard .*tiny-val-0002\.tar"),
        ({"train": "*.tar"}, "is a shard of training and of validation"),
        ({"label": "class"}, r"has the label class \(files of a sample there: cls, json, png\)"),
        ({"label": "json.clas"}, "has the label json.clas"),
        ({"label": "png.x"}, r"tiny-train-0000.tar/im/000.png is not the label it should be"),
    ],
)
def test_mistakes_are_told(options: dict[str, str], message: str, root: Path) -> None:
    with pytest.raises(UserError, match=message) as told:
        WebDataset("train", root, **options)
    assert "\n" not in str(told.value)


def test_damage_is_told(root: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root is not set"):
        WebDataset("train")
    shard = root / "tiny-train-0001.tar"
    rewritten(shard, a_png=png(), a_cls=b"1", b_png=png())
    with pytest.raises(UserError, match=r"1 of the 11 images .* first tiny-train-0001\.tar/b\.png"):
        WebDataset("train", root)
    rewritten(shard, _hidden_png=png(), note_txt=b"no image", a_PNG=png(), a_cls=b" 2\n")
    assert len(WebDataset("train", root)) == 10
    assert WebDataset("train", root)[4]["label"] == 2
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(UserError, match="cut short or damaged"):
        WebDataset("train", root)
