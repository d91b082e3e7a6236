"""Palettes: which colour of a label map is which class."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cast_exp.errors import UserError, listing
from cast_exp.ops.labels import VOID

Colour = Sequence[int]
Palette = Mapping[str, Colour | Sequence[Colour]] | Sequence[Colour] | Path
"""Colours (red, green, blue in 0..255): one or several by the name of their class, one for each
class in their order, or a file with a line ``R G B name`` or ``name,R,G,B`` for each."""

PARTS = np.array([1 << 16, 1 << 8, 1])
"""What red, green and blue count in the number that stands for a colour."""

_VOID_NAME = "void"
_RGB = r"(?P<rgb>\d+[\s,;]+\d+[\s,;]+\d+)"
_LINES = re.compile(rf"{_RGB}\W+(?P<name>.+)"), re.compile(rf"(?P<name>.+?)\W+{_RGB}\W*")


def palette_labels(palette: Palette, classes: Sequence[str]) -> dict[int, int]:
    """The number of the class of each colour, 255 for colours that are called "void".

    Args:
        palette: The colours.
        classes: Names of the classes.

    Returns:
        Numbers of classes by the number that stands for the colour, see `PARTS`.

    Raises:
        UserError: A file that cannot be read, a name that is of no class, a class without a colour
            or a colour of two classes.
    """
    numbers = {_VOID_NAME: VOID, **{name: number for number, name in enumerate(classes)}}
    labels: dict[int, int] = {}
    for name, colour in _named(palette, classes):
        if name not in numbers:
            raise UserError(
                f"data.dataset.palette has a colour of {name}, which is not among the classes "
                f"({listing(classes)}); correct the name, or write {_VOID_NAME} to ignore it"
            )
        if len(colour) != len(PARTS) or not 0 <= min(colour) <= max(colour) <= 255:
            raise UserError(
                f"data.dataset.palette has {[*colour]} for {name}; a colour is [R,G,B] of 0 to 255"
            )
        if labels.setdefault(int(np.dot(colour, PARTS)), numbers[name]) != numbers[name]:
            raise UserError(f"data.dataset.palette has the colour {[*colour]} for two classes")
    if missing := [name for name in classes if numbers[name] not in labels.values()]:
        raise UserError(f"data.dataset.palette has no colour for {listing(missing)}")
    return labels


def _named(palette: Palette, classes: Sequence[str]) -> Iterable[tuple[str, Colour]]:
    """Each colour with its name."""
    if isinstance(palette, Path):
        return _read(palette)
    if isinstance(palette, Mapping):
        return [
            (name, colour)
            for name, given in palette.items()
            for colour in np.atleast_2d(given).tolist()
        ]
    if len(palette) != len(classes):
        raise UserError(
            f"data.dataset.palette has {len(palette)} colours for {len(classes)} classes; give one "
            "for each, or name them: {name: [R,G,B], void: [R,G,B]}"
        )
    return zip(classes, palette, strict=True)


def _read(file: Path) -> Iterable[tuple[str, Colour]]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"data.dataset.palette: cannot read {file} ({reason})") from error
    for number, line in enumerate(map(str.strip, lines), 1):
        if match := _LINES[0].fullmatch(line) or _LINES[1].fullmatch(line):
            yield match["name"], [int(part) for part in re.findall(r"\d+", match["rgb"])]
        elif line and line[0] != "#" and number > 1:  # the first line may be a heading
            raise UserError(f"{file}:{number} is not a name with R, G and B, as in road,128,64,128")
