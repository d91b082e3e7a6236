"""The list of images that a run does not train on."""

import logging
import os
from pathlib import Path

import pytest
from support.probe_run import images
from support.tiny_run import Blots

from cast_exp.run.held_out import record_held_out

NAMES = ["b/2.jpg", "a/é.jpg", os.fsdecode(b"odd\xff.jpg")]


class Held(Blots):
    held_out = NAMES


def test_names_are_written_one_a_line_as_they_are_on_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        record_held_out(tmp_path, images(dataset=Held))
    lines = (tmp_path / "held_out.txt").read_bytes().split(b"\n")
    assert lines == [os.fsencode(name) for name in NAMES] + [b""]
    assert "3 of 51 images validate" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["held_out.txt"]


def test_nothing_is_written_of_nothing_or_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_held_out(tmp_path, images())
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    record_held_out(tmp_path, images(dataset=Held))
    assert not list(tmp_path.iterdir())
