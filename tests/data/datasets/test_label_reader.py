"""Label maps against a loop over their pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cast_exp.data.datasets import UnreadableImage
from cast_exp.data.datasets.label_reader import LabelReader, read_map
from cast_exp.errors import UserError

CLASSES = ["sky", "road", "car"]
COLOURS = {0: (70, 130, 180), 1: (128, 64, 128), 2: (0, 0, 142), 3: (0, 0, 70), 255: (0, 0, 0)}
BY_NAME = {
    "sky": COLOURS[0],
    "road": [COLOURS[1]],
    "car": [COLOURS[2], COLOURS[3]],
    "void": [0] * 3,
}
IN_ORDER = [COLOURS[0], COLOURS[1], COLOURS[2]]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {0: 0, 1: 1, 2: 2, 255: 255}),
        ({"ignore_index": 11}, {0: 0, 1: 1, 2: 2, 11: 255}),
        ({"reduce_zero_label": True}, {0: 255, 1: 0, 2: 1, 3: 2, 255: 255}),
        ({"reduce_zero_label": True, "ignore_index": 7}, {0: 255, 1: 0, 2: 1, 3: 2, 7: 255}),
        ({"label_map": {0: 2, 9: 0, 4: 0, 8: 255}}, {0: 2, 9: 0, 4: 0, 8: 255, 255: 255}),
        ({"label_map": {0: 0, 255: 1}}, {0: 0, 255: 1}),
        ({"label_map": {0: 0, 254: 2}, "ignore_index": 3}, {0: 0, 254: 2, 3: 255}),
    ],
)
@pytest.mark.parametrize("mode", ["L", "P"])
def test_values(
    options: dict[str, Any],
    expected: dict[int, int],
    mode: str,
    tmp_path: Path,
    random: np.random.Generator,
) -> None:
    values = random.choice(np.array([*expected], np.uint8), (9, 14))
    drawn = Image.fromarray(values)
    if mode == "P":
        drawn.putpalette(random.integers(0, 256, 768, dtype=np.uint8).tobytes())
    drawn.save(path := tmp_path / "map.png")
    labels = LabelReader(CLASSES, **options).read(path, drawn)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[expected[value] for value in row] for row in values.tolist()]
    left_out = min({*range(256)} - {*expected})
    values[2, 3:6] = left_out
    Image.fromarray(values).save(path)
    with pytest.raises(
        UserError, match=rf"has the value {left_out} in 3 of 126 pixels, .*label_map"
    ):
        LabelReader(CLASSES, **options).read(path, drawn)


@pytest.mark.parametrize("kind", ["names", "order", "file"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours(kind: str, mode: str, tmp_path: Path, random: np.random.Generator) -> None:
    file = tmp_path / "colours.csv"
    file.write_text(
        "name,r,g,b\nsky,70,130,180\nroad,128,64,128\ncar,0,0,142\ncar,0,0,70\nvoid,0,0,0\n"
    )
    palette = {"names": BY_NAME, "order": IN_ORDER, "file": file}[kind]
    expected = {0: 0, 1: 1, 2: 2} | ({3: 2, 255: 255} if kind != "order" else {})
    chosen = random.choice([*expected], (9, 14))
    pixels = np.array([[COLOURS[each] for each in row] for row in chosen.tolist()], np.uint8)
    drawn = Image.fromarray(pixels)
    drawn = drawn.quantize(8) if mode == "P" else drawn.convert(mode)
    drawn.save(path := tmp_path / "map.png")
    labels = LabelReader(CLASSES, palette=palette).read(path, drawn)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[expected[each] for each in row] for row in chosen.tolist()]


def test_colours_without_a_class(tmp_path: Path) -> None:
    drawn = Image.new("RGB", (10, 5), COLOURS[1])
    drawn.paste((1, 2, 3), (0, 0, 4, 1))
    drawn.putpixel((9, 4), (3, 2, 1))
    drawn.save(path := tmp_path / "map.png")
    with pytest.raises(UserError) as caught:
        LabelReader(CLASSES, palette=BY_NAME).read(path, drawn)
    assert str(caught.value) == (
        f"{path} has the colour [1, 2, 3] in 4 of 50 pixels (and 1 more unknown), which "
        "data.dataset.palette lacks: give it a class there, or call it void"
    )
    drawn.save(path := path.with_suffix(".jpg"))
    with pytest.raises(UserError, match="JPEG changes values: save maps as PNG"):
        LabelReader(CLASSES, palette=BY_NAME).read(path, drawn)


def test_maps_of_one_bit(tmp_path: Path, random: np.random.Generator) -> None:
    values = random.integers(0, 2, (9, 14)).astype(bool)
    Image.fromarray(values).save(path := tmp_path / "map.png")
    with Image.open(path) as drawn:
        assert drawn.mode == "1"
    assert np.array_equal(LabelReader(["background", "cell"]).read(path, drawn), values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_map": {0: 0}, "palette": BY_NAME}, "set one of data.dataset.label_map, red"),
        (
            {"label_map": {0: 0}, "reduce_zero_label": True},
            "set one of data.dataset.label_map, red",
        ),
        ({"label_map": {0: 3, 1: 255}}, "label_map maps to 3, but the 3 classes have 0 to 2"),
        ({"ignore_index": 1}, "ignore_index=1 is the value of the class road; correct it"),
    ],
)
def test_contradictions(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LabelReader(CLASSES, **options)


def test_files_that_are_no_maps(tmp_path: Path) -> None:
    image = Image.new("RGB", (10, 5))
    image.save(path := tmp_path / "map.png")
    with pytest.raises(UserError, match=r"image of mode RGB; a label map .*data\.dataset\.palette"):
        read_map(path, image)
    for colours in (False, True):
        Image.new("L", (10, 6)).save(path)
        with pytest.raises(UserError, match="is 10 x 6 pixels, but its image is 10 x 5"):
            read_map(path, image, colours)
        path.write_bytes(b"")
        with pytest.raises(UnreadableImage, match="empty file"):
            read_map(path, image, colours)
