"""Lists of images and their label maps, in the forms that people write them."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cast_exp.errors import UserError, listing

_COLUMNS = re.compile(r"(-1|0|1)(\s+(-1|0|1))*")  # of VOC's lists for a class: whether it is there


class Files:
    """Files of a kind, by what lists call them.

    Args:
        root: The data set.
        folder: Where the files are, below the root.
        suffixes: What their names may end with and lists may leave out.
    """

    def __init__(self, root: Path, folder: str, suffixes: Sequence[str]) -> None:
        self.folder = root / folder
        self._root = root
        self._suffixes = tuple(suffix.lower() for suffix in suffixes)
        self._seen: dict[Path, dict[str, Path]] = {}

    def __str__(self) -> str:
        return f"{self.folder} ({', '.join(f'*{suffix}' for suffix in self._suffixes)})"

    def get(self, name: str) -> Path | None:
        """The file of a name, which is a path in the folder, with or without suffix."""
        return self._at(self.folder / name)

    def find(self, written: str) -> Path | None:
        """The file of a name, of a path below the root or of an absolute path.

        A path below the root may begin with "/", as in the lists of DeepLab.
        """
        root = self._root
        paths = (self.folder / written, root / written, root / written.lstrip("/"))
        return next(filter(None, map(self._at, paths)), None)

    def name(self, file: Path) -> str:
        """What lists call a file: its path in the folder, without suffix."""
        within = file.relative_to(self.folder) if file.is_relative_to(self.folder) else file.name
        return self._stem(str(within))

    def names(self, folder: str) -> list[str]:
        """Names of all files with such a suffix below a folder in the folder; no hidden ones."""
        return sorted(
            self.name(Path(parent, name))
            for parent, _, names in os.walk(self.folder / folder, followlinks=True)
            for name in names
            if self._stem(name) != name and not name.startswith(".")
        )

    def _at(self, path: Path) -> Path | None:
        """The file of a path, with or without suffix; each folder is read once."""
        folder = path.parent
        if folder not in self._seen:
            names: list[str] = []
            if os.path.isdir(folder):  # which takes whatever a list has
                with os.scandir(folder) as entries:
                    names = sorted(entry.name for entry in entries if not entry.is_dir())
            short = {self._stem(name): folder / name for name in reversed(names)}
            self._seen[folder] = short | {name: folder / name for name in names}
        return self._seen[folder].get(path.name)

    def _stem(self, name: str) -> str:
        ends = [suffix for suffix in self._suffixes if name.lower().endswith(suffix)]
        return name[: -len(ends[0])] if ends else name


@dataclass(frozen=True)
class Listed:
    """An image and its label map, each None if it is not there, and what the list has of them."""

    written: str
    image: Path | None
    mask: Path | None


def by_name(name: str, images: Files, masks: Files) -> Listed:
    """The image of a name and the label map of the same name."""
    image = images.find(name)
    return Listed(name, image, masks.get(images.name(image)) if image else None)


def read_list(file: Path, images: Files, masks: Files) -> list[Listed]:
    """Read a list: UTF-8, a line for each image; blank lines, spaces at the ends, BOM and CR pass.

    A line is an image, or an image and its label map, each a name as `Files` finds it. A tab or, if
    the line has none, spaces separate the two. Names may have spaces if only one reading of the
    line has all its files. Columns of -1, 0 and 1, as in VOC's lists, are passed over, and "\\" is
    "/".

    Args:
        file: The list.
        images: Where images are.
        masks: Where label maps are.

    Raises:
        UserError: The file is missing, empty or not UTF-8, or a line can be read in several ways.
    """
    if not file.is_file():
        there = listing(sorted(found.stem for found in file.parent.glob("*.txt")))
        raise UserError(
            f"no list {file} (there is: {there or 'none'}); correct data.dataset.{{train,val}}"
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 ({error.reason}); save it as that") from error
    lines = [line.strip() for line in text.split("\n")]
    if not any(lines):
        raise UserError(f"{file} is empty; it should have the name of an image in each line")
    return [_matched(line.replace("\\", "/"), images, masks, file) for line in lines if line]


def _matched(line: str, images: Files, masks: Files, file: Path) -> Listed:
    alone = by_name(line, images, masks)
    found = [alone] if alone.image else []
    for gap in re.finditer(r"\s*\t\s*" if "\t" in line else r"\s+", line):
        rest = line[gap.end() :]
        if image := images.find(line[: gap.start()]):
            mask = masks.get(images.name(image)) if _COLUMNS.fullmatch(rest) else None
            found.append(Listed(line, image, mask or masks.find(rest)))
    whole = [each for each in found if each.mask]
    if len(whole) > 1:
        raise UserError(
            f"{file}: {line!r} can be read in several ways; write all suffixes, and a tab between "
            "image and label map"
        )
    return (whole or found or [alone])[0]
