from pathlib import Path

import pytest

from cast_exp.data.datasets.palette import Palette, palette_labels
from cast_exp.errors import UserError

CLASSES = ["sky", "road 1"]
EXPECTED = {0x4682B4: 0, 0x804080: 1, 0x000001: 1, 0x000000: 255}


@pytest.mark.parametrize(
    "text",
    [
        "name,r,g,b\nsky,70,130,180\nroad 1,128,64,128\nroad 1,0,0,1\nvoid,0,0,0\n",
        "\ufeff70 130 180\tsky\r\n128 64 128\troad 1\r\n\r\n0 0 1\troad 1\r\n0 0 0\tvoid\r\n",
        "# label:rgb:parts\nsky:70,130,180::\nroad 1:128,64,128::\nroad 1:0,0,1::\nvoid:0,0,0::",
        "sky 70 130 180\nroad 1 128 64 128\nroad 1 0 0 1\n  void 0 0 0  ",
    ],
)
def test_files(text: str, tmp_path: Path) -> None:
    (tmp_path / "colours.txt").write_bytes(text.encode())
    assert palette_labels(tmp_path / "colours.txt", CLASSES) == EXPECTED


def test_names_and_order() -> None:
    several = {"sky": [70, 130, 180], "road 1": [[128, 64, 128], [0, 0, 1]], "void": [0, 0, 0]}
    assert palette_labels(several, CLASSES) == EXPECTED
    assert palette_labels([[70, 130, 180], [128, 64, 128]], CLASSES) == {0x4682B4: 0, 0x804080: 1}
    assert palette_labels({"void": [1, 1, 1]}, ["void"]) == {0x010101: 0}, "a class of that name"


@pytest.mark.parametrize(
    ("palette", "message"),
    [
        ([[0, 0, 0]], "has 1 colours for 2 classes; give one for each, or name them"),
        ({"sky": [0, 0, 0], "Road 1": [1, 0, 0]}, r"a colour of Road 1, .*\(sky, road 1\)"),
        ({"sky": [0, 0, 0], "road 1": [0, 0, 0]}, r"has the colour \[0, 0, 0\] for two classes"),
        ({"sky": [0, 0, 0], "void": [1, 0, 0]}, "no colour for road 1"),
        ([[0, 0, 256], [0, 0, 0]], r"has \[0, 0, 256\] for sky; a colour is \[R,G,B\] of 0 to 255"),
        ([[0, 0], [1, 1]], r"has \[0, 0\] for sky"),
        (Path("nowhere.txt"), r"cannot read nowhere\.txt"),
    ],
)
def test_mistakes(palette: Palette, message: str) -> None:
    with pytest.raises(UserError, match=message):
        palette_labels(palette, CLASSES)


def test_lines_that_are_no_colours(tmp_path: Path) -> None:
    file = tmp_path / "colours.txt"
    file.write_text("sky,70,130,180\nroad 1,#804080\n")
    with pytest.raises(UserError, match=r"colours\.txt:2 is not a name with R, G and B"):
        palette_labels(file, CLASSES)
    file.write_bytes("ä".encode("utf-16"))
    with pytest.raises(UserError, match=r"cannot read .*colours\.txt"):
        palette_labels(file, CLASSES)
