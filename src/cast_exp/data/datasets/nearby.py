"""What would work where a data set is not found: another root, or a command that prepares it."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from shlex import quote

_INSIDE = (
    "ade20k",
    "pcontext",
    "VOCdevkit/VOC2012",
    "BSDS500/data",
    "BSR/BSDS500/data",
    "ILSVRC/Data/CLS-LOC",
)
_TARS = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")
_VAL_CLASSES = "LOC_val_solution.csv"  # in the root of Kaggle's ImageNet


def other_root(root: Path, fits: Callable[[Path], bool]) -> str:
    """The override for a folder one or two levels above or below a wrong root, if one would do.

    Args:
        root: The wrong root, which need not exist.
        fits: Whether a folder would do.

    Returns:
        The end of a message; empty if none would do.
    """
    for folder in _around(root):
        with suppress(OSError):  # folders of others
            if fits(folder):
                return f"; did you mean data.root={quote(str(folder))}?"
    return ""


def imagenet_command(folder: Path) -> str:
    """What to do about ImageNet as it is published, if that is what a folder holds.

    Returns:
        The end of a message; empty if it is something else.
    """
    if not folder.is_dir():  # a tar stands for it
        return ""
    with os.scandir(folder) as entries:
        names = {entry.name for entry in entries}
    here = quote(str(folder.absolute()))
    if names.intersection(_TARS):
        return "; data=imagenet and data=imagenet100 read the published archives as they are"
    if any(name.startswith("n0") and name.endswith(".tar") for name in names):
        return (
            f'; to unpack the classes: cd {here} && for f in *.tar; do mkdir -p "${{f%.tar}}" && '
            'tar -xf "$f" -C "${f%.tar}"; done'
        )
    if any(name.startswith("ILSVRC2012_val_") for name in names):
        places = (parent / _VAL_CLASSES for parent in folder.absolute().parents[:4])
        listed = next(filter(Path.is_file, places), Path(_VAL_CLASSES))
        return (
            f"; to sort them by Kaggle's {_VAL_CLASSES}: cd {here} && tail -n +2 "
            f"{quote(str(listed))} | while IFS=', ' read -r image class rest; do mkdir -p "
            '"$class" && mv "$image.JPEG" "$class"; done'
        )
    return ""


def _around(root: Path) -> Iterator[Path]:
    yield from (root / folder for folder in _INSIDE)
    yield from Path(os.path.abspath(root)).parents[:2]
    if root.is_dir():
        with os.scandir(root) as entries:
            yield from sorted(root / entry.name for entry in entries if entry.is_dir())
