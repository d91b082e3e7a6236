"""Files from strangers that are no checkpoints, or lie about what they hold."""

import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from support.commands import ROOT
from support.stored import nested, own, saved

from cast_exp.checkpoints import load_pretrained, load_projector, load_segmentation_model
from cast_exp.checkpoints.files import CARD, PREFIX, WEIGHTS, write_converted
from cast_exp.checkpoints.segmentation import CLASSES
from cast_exp.segment import main as segment

pytestmark = pytest.mark.usefixtures("little_memory")

NORM = f"{PREFIX}norm.weight"
CLS = f"{PREFIX}cls_token"


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
                    file.write(bytes(2**20))


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
        (" " * 2 * 2**20, "longer than"),
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
