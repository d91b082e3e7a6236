"""Outputs that are whole or not there, and when they are made again."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from cast_exp.errors import UserError
from cast_exp.predict.files import Outputs, compact_json, jpeg, png


def test_done_only_with_the_same_settings_and_all_files(tmp_path):
    outputs = Outputs(tmp_path / "a", "hierarchy")
    assert not outputs.made_with({"size": 1})
    outputs.write({"x.png": b"x", "y.png": b"y"}, {"size": 1})
    assert outputs.made_with({"size": 1})
    assert not outputs.made_with({"size": 2})
    assert not outputs.made_with({"size": 1, "levels": [2]})
    assert not Outputs(tmp_path / "a", "semantic").made_with({"size": 1})
    (tmp_path / "a/y.png").unlink()
    assert not outputs.made_with({"size": 1})


def test_outputs_of_other_settings_are_taken_away(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    outputs = Outputs(tmp_path, "hierarchy")
    outputs.write({"x.png": b"x", "y.png": b"y"}, {"size": 1})
    outputs.write({"x.png": b"z"}, {"size": 2})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"mine.txt", "x.png", "hierarchy.settings.json"}
    assert (tmp_path / "x.png").read_bytes() == b"z"


def test_interrupted_outputs_are_not_done(tmp_path, monkeypatch):
    outputs = Outputs(tmp_path, "hierarchy")
    outputs.write({"x.png": b"x"}, {"size": 1})
    with pytest.raises(TypeError):
        outputs.write({"x.png": b"new", "y.png": None}, {"size": 1})
    assert not outputs.made_with({"size": 1})
    assert (tmp_path / "x.png").read_bytes() == b"new"
    assert not list(tmp_path.glob(".*"))


def test_a_broken_record_means_not_done(tmp_path):
    (tmp_path / "hierarchy.settings.json").write_text("{")
    assert not Outputs(tmp_path, "hierarchy").made_with({"size": 1})


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(UserError, match="cannot write to"):
        Outputs(tmp_path / "a/b", "hierarchy").write({}, {})


def test_pictures_read_back():
    rng = np.random.default_rng(0)
    for shape in [(5, 7), (5, 7, 3), (5, 7, 4)]:
        pixels = rng.integers(256, size=shape, dtype=np.uint8)
        assert (np.asarray(Image.open(io.BytesIO(png(pixels)))) == pixels).all()
    deep = rng.integers(1 << 16, size=(5, 7)).astype(np.uint16)
    assert (np.asarray(Image.open(io.BytesIO(png(deep)))) == deep).all()
    red = np.full((16, 16, 3), (200, 10, 10), np.uint8)
    assert np.abs(np.asarray(Image.open(io.BytesIO(jpeg(red)))).astype(int) - red).max() < 12


def test_json_has_a_line_for_each_row():
    text = compact_json({"width": 3, "levels": [1]}, "rows", [{"a": 1}, {"a": 2}])
    assert json.loads(text) == {"width": 3, "levels": [1], "rows": [{"a": 1}, {"a": 2}]}
    assert text.decode().count("\n") == 8
    assert json.loads(compact_json({}, "rows", [])) == {"rows": []}
