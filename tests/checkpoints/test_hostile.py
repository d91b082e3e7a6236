"""Checkpoints and cards from strangers: one line each, soon, and with little memory."""

import json
import os
import re
import resource
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from support.commands import ROOT
from support.official import backbone_shapes, blank
from support.stored import own

from cast_exp.checkpoints import load_pretrained, load_projector, load_segmentation_model
from cast_exp.checkpoints.files import CARD, CONFIG, PREFIX, WEIGHTS, write_converted
from cast_exp.checkpoints.segmentation import CLASSES
from cast_exp.errors import UserError
from cast_exp.segment import main as segment

MIB = 2**20
TOO_MUCH = 300 * MIB
NORM = f"{PREFIX}norm.weight"
CLS = f"{PREFIX}cls_token"


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Nothing may be allocated that is larger than `TOO_MUCH` (address space included)."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + TOO_MUCH
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def refused(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Loads what must be refused, and returns why."""

    def refused(path: Path, load: Callable[..., Any] = load_pretrained, **options: Any) -> str:
        began = time.process_time()
        with pytest.raises(UserError) as error:
            load(path, **options)
        assert time.process_time() - began < 2
        message = str(error.value)
        assert message.isprintable()  # and so one line
        assert len(message) < 4000
        return message

    return refused


def saved(path: Path, checkpoint: Any) -> Path:
    torch.save(checkpoint, path / "checkpoint.pth")
    return path / "checkpoint.pth"


def nested(depth: int) -> list[Any]:
    inside: list[Any] = []
    for _ in range(depth):
        inside = [inside]
    return inside


def bomb() -> list[Any]:
    inside: list[Any] = [1]
    for _ in range(40):
        inside = [inside] * 10
    return inside


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dim": 60000}, r"of another shape: cls_token"),
        ({"dim": 10**30}, "dim: Input should be less"),
        ({"dim": 0}, "dim: Input should be greater"),
        ({"dim": True}, "dim: Input should be a valid integer"),
        ({"dim": "24"}, "dim: Input should be a valid integer"),
        ({"dim": torch.zeros(1)}, "dim: Input should be a valid integer"),
        ({"depths": [10**7, 10**7]}, "depths: Input should be less"),
        ({"depths": [900, 900]}, "1800 blocks, but has only"),
        ({"depths": [1] * 1800}, "1800 blocks, but has only"),
        ({"depths": []}, "depths"),
        ({"depths": 3}, "depths: Input should be a valid tuple"),
        ({"depths": bomb()}, "depths: Input should be a valid integer"),
        ({"heads": 0}, "heads: Input should be greater"),
        ({"heads": 5}, "dim=24 with heads=5"),
        ({"heads": 10**18}, "dim=24 with heads=1000"),
        ({"image_size": 10**8}, "image_size: Input should be less"),
        ({"image_size": 2**16}, r"positions\.grid"),
        ({"image_size": 0}, "image_size: Input should be greater"),
        ({"family": "resnet"}, "family: Input should be 'cast'"),
        ({"levels": [float("nan"), 2]}, "levels"),
        ({"levels": [float("inf"), 2]}, "levels"),
        ({"levels": [True]}, "levels"),
        ({"levels": list(range(3000, 0, -1))}, "at most 100 items"),
        ({"levels": bomb()}, "levels"),
        ({"drop_path": float("nan")}, "drop_path"),
        ({"drop_path": 1.0}, "drop_path: Input should be less"),
        ({"fusion": "no"}, "fusion: Input should be a valid boolean"),
        ({"merged": -1}, "merged"),
        ({"grouping": 7}, "grouping: Input should be a valid string"),
        ({"grouping": "GraphPool\x1b[2J\n" * 20}, "grouping: String should match"),
        ({"grouping_options": {"dropout": 7.0}}, "dropout: Input should be less"),
        ({"grouping_options": {"speed": 9}}, "unexpected keyword argument 'speed'"),
        ({"grouping_options": {3: 9}}, "grouping_options"),
        ({"grouping_options": {"dropout": nested(100)}}, "grouping_options"),
        ({"grouping_options": {"dropout": bomb()}}, "grouping_options"),
        (
            {"grouping": "KMeans", "grouping_options": {"iterations": 10**12}},
            "iterations: Input should",
        ),
        ({"grouping": "KMeans", "grouping_options": {"seeding": "me"}}, "seeding: Input should be"),
        ({7: 1}, r"unknown entries \(7\)"),
        ({"a\nb\x1b[31m": 1}, r"unknown entries \(a\?b\?\[31m\)"),
        ({f"name{number}": 1 for number in range(10**4)}, "and 9980 more"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(map(str, value))[:20],
)
def test_a_config_that_is_wrong(
    changes: dict[Any, Any], reason: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    checkpoint, _ = own()
    checkpoint[CONFIG] |= changes
    assert re.search(reason, refused(saved(tmp_path, checkpoint)))


def wide(state: dict[str, Any]) -> None:
    """A model of a width of 60000, of views of one number."""
    for name, value in state.items():
        shape = [60000 if size == 24 else 180000 if size == 72 else size for size in value.shape]
        state[name] = torch.zeros(()).expand(shape)


def changed(name: str, value: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        state[name] = value(state[name])

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (wide, r"claims to hold \d+ numbers in \d+ bytes"),
        (changed(NORM, lambda value: value.to("meta")), "without values: backbone.norm.weight"),
        (changed(NORM, torch.Tensor.to_sparse), "sparse"),
        (changed(NORM, lambda value: value.cfloat()), "of another type: norm.weight"),
        (changed(NORM, torch.Tensor.bool), "of another type: norm.weight"),
        (changed(NORM, lambda value: value[0]), r"of another shape: norm.weight \(\)"),
        (changed(NORM, lambda value: value[:0]), r"of another shape: norm.weight \(0,\)"),
        (changed(NORM, lambda value: value.tolist()), "1 missing: norm.weight"),
        (lambda state: state.update({f"{PREFIX}a\r\x1b[2J": torch.ones(1)}), r"a\?\?\[2J"),
        (lambda state: state.update({3: torch.ones(1), NORM: torch.ones(1)}), "norm.weight"),
        (dict.clear, "2 blocks, but has only 0"),
    ],
)
def test_weights_that_are_wrong(
    change: Callable[[dict[str, Any]], None],
    reason: str,
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    checkpoint, _ = own()
    change(checkpoint["state_dict"])
    assert re.search(reason, refused(saved(tmp_path, checkpoint)))


def test_weights_for_a_config_that_promises_more(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    checkpoint, _ = own()
    checkpoint[CONFIG] |= {"dim": 60000, "image_size": 8}
    checkpoint["state_dict"][CLS] = torch.zeros(1, 1, 60000)
    checkpoint["state_dict"][f"{PREFIX}tokens.positions.grid"] = torch.zeros(1, 60000, 1, 1)
    assert "of another shape" in refused(saved(tmp_path, checkpoint), image_size=64)


def own_with_grid(*shape: int) -> dict[str, Any]:
    checkpoint, _ = own()
    checkpoint["state_dict"][f"{PREFIX}tokens.positions.grid"] = torch.zeros(shape)
    return checkpoint


@pytest.mark.parametrize(
    ("checkpoint", "reason"),
    [
        (own_with_grid(3), "of another shape: tokens.positions.grid"),
        (own_with_grid(1, 24, 0, 4), "of another shape: tokens.positions.grid"),
        (own_with_grid(1, 7, 4, 4), "of another shape: tokens.positions.grid"),
        ({CONFIG: {}}, r"has no weights \(state_dict\)"),
        ({CONFIG: {}, "state_dict": [1]}, "no weights"),
        ({CONFIG: 3, "state_dict": {}}, "config is a int, not a mapping"),
        ({3: 4, CONFIG: {}}, "numbered values"),
        ({}, "holds nothing"),
        ({"a\n\x1b[2J" * 1000: 1}, "holds a"),
        ({"model": {3: torch.zeros(3)}}, "holds model"),
        (nested(400), "holds a list"),
    ],
)
def test_what_is_no_checkpoint(
    checkpoint: Any, reason: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = saved(tmp_path, checkpoint)
    assert re.search(reason, refused(path, image_size=64))
    if isinstance(checkpoint, dict) and "state_dict" not in checkpoint and CONFIG in checkpoint:
        assert refused(path, load_projector)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cls_token": torch.zeros(())}, "cls_token is no array of 3 axes"),
        ({"pos_embed": torch.zeros(384)}, "pos_embed is no array of 3 axes"),
        ({"pos_embed": torch.zeros(1, 0, 384)}, "not a square grid"),
        ({"pos_embed": torch.zeros(1, 783, 384)}, "not a square grid"),
        ({"pos_embed": torch.zeros(()).expand(1, 10**10, 384)}, "claims to hold"),
        ({"pos_embed": torch.zeros(1, 4 * 10**4, 8)}, "of another shape"),
        ({"cls_token": torch.zeros(1, 1, 0)}, "dim: Input should be greater"),
        ({"cls_token": torch.zeros(1, 1, 60000)}, "of another shape"),
        ({f"blocks1.{'9' * 5000}.norm1.weight": torch.zeros(1)}, "that no backbone"),
        ({f"blocks1.{number}.a": torch.zeros(1) for number in range(99)}, "lacks blocks"),
        ({f"blocks.{number}.a": torch.zeros(1) for number in range(10**3)}, "differ"),
        ({"blocks.": torch.zeros(1)}, "that no backbone"),
    ],
)
def test_official_layouts(
    changes: dict[str, Any], reason: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    checkpoint = {"model": blank(backbone_shapes("cast")) | changes}
    assert re.search(reason, refused(saved(tmp_path, checkpoint)))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def compressed(path: Path) -> None:
    """An archive that unpacks to a gibibyte."""
    saved(path.parent, {"model": torch.ones(3)}).rename(path.with_name("plain"))
    with ZipFile(path.with_name("plain")) as plain, ZipFile(path, "w", ZIP_DEFLATED) as out:
        for entry in plain.infolist():
            with out.open(entry.filename, "w", force_zip64=True) as file:
                file.write(plain.read(entry))
                for _ in range(64 if entry.filename.endswith("data.pkl") else 0):
                    file.write(bytes(MIB))


def old_pickle(path: Path) -> None:
    torch.save({"model": nested(20)}, path, _use_new_zipfile_serialization=False)


def longer_than_stored(path: Path) -> None:
    """A tensor beyond the end of what is stored for it."""
    tensor = torch.ones(3)
    reduced = tensor.__reduce_ex__(2)

    class Longer:
        def __reduce__(self) -> Any:
            storage, offset, _, _, *others = reduced[1]
            return reduced[0], (storage, offset, (10**9,), (1,), *others)

    torch.save({"model": {"patch_embed.proj.0.weight": Longer()}}, path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (pipe, "is not a file"),
        (device, "is not a file"),
        (compressed, "its archive is compressed"),
        (old_pickle, "holds model"),
        (longer_than_stored, "cannot be read"),
    ],
)
def test_files_that_are_no_checkpoints(
    make: Callable[[Path], None],
    reason: str,
    refused: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "checkpoint.pth"
    make(path)
    assert reason in refused(path)
    photo = str(ROOT / "docs" / "creatures.png")
    assert segment([photo, "--checkpoint", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def lying(header: dict[str, Any], length: int | None = None) -> bytes:
    """A safetensors file of eight bytes that says whatever it likes."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lying({"a": {"dtype": "F32", "shape": [10**10], "data_offsets": [0, 8]}}), "cannot be"),
        (lying({"a": {"dtype": "F32", "shape": [2**63, 4], "data_offsets": [0, 8]}}), "cannot be"),
        (
            lying({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4 * 10**10]}}),
            "cannot be",
        ),
        (lying({"a": {"dtype": "evil", "shape": [2], "data_offsets": [0, 8]}}), "cannot be"),
        (lying({}, 2**62), "cannot be"),
        (lying({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}), "2 blocks"),
    ],
)
def test_safetensors_that_lie(
    content: bytes, reason: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / CARD).write_text(json.dumps({"config": own()[1].config.to_dict()}))
    (tmp_path / WEIGHTS).write_bytes(content)
    assert reason in refused(tmp_path)


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        ('{"config": ' + "[" * 10**5, "cannot be read .*RecursionError"),
        ('{"config": [1]}', "does not say what model it is"),
        ("[]", "does not say what model it is"),
        ('{"config": {"dim": ' + "9" * 10**4 + "}}", "cannot be read"),
        (
            '{"config": {"dim": NaN, "depths": [1], "heads": 3, "family": "vit"}}',
            "dim: Input should be a valid integer",
        ),
        ('{"config": {}}', "lacks depths, dim, family, heads"),
        (" " * 2 * MIB, "longer than"),
        ("\ufeff{", "cannot be read"),
    ],
    ids=lambda value: value[:20],
)
def test_cards(card: str, reason: str, refused: Callable[..., str], tmp_path: Path) -> None:
    write_converted(tmp_path, own()[1].state_dict(), {}, {})
    (tmp_path / CARD).write_text(card, encoding="utf-8")
    assert re.search(reason, refused(tmp_path))
    (tmp_path / CARD).unlink()
    os.mkfifo(tmp_path / CARD)
    assert "no config.json" in refused(tmp_path)


@pytest.mark.parametrize(
    "classes", [10**9, [], [3], "abc", [str(number) for number in range(10**4)], nested(3)]
)
def test_heads_for_segmentation(classes: Any, refused: Callable[..., str], tmp_path: Path) -> None:
    checkpoint, _ = own(fusion=True)
    path = saved(tmp_path, checkpoint | {CLASSES: classes})
    assert refused(path, load_segmentation_model)


@pytest.mark.parametrize(
    "head",
    [
        {"0.weight": torch.zeros(3)},
        {"0.weight": torch.zeros(3), "3.weight": torch.zeros(2, 3)},
        {"0.weight": torch.zeros(1, 10**5), "3.weight": torch.zeros(10**5, 1)},
        {f"{3 * number}.weight": torch.zeros(2, 2) for number in range(300)},
    ],
)
def test_projectors(head: dict[str, Any], refused: Callable[..., str], tmp_path: Path) -> None:
    checkpoint, _ = own()
    checkpoint["state_dict"] |= {f"projector.{name}": value for name, value in head.items()}
    path = saved(tmp_path, checkpoint)
    if len(head) == 1:
        assert load_projector(path) is None
    else:
        assert "does not fit" in refused(path, load_projector)


def test_values_that_are_not_finite_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint, _ = own()
    checkpoint["state_dict"][NORM][3] = float("nan")
    checkpoint["state_dict"][CLS][:] = float("inf")
    load_pretrained(saved(tmp_path, checkpoint))
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.message.endswith("not finite (NaN, infinity): cls_token, norm.weight")
