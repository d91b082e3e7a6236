"""Label maps as people have them, read as numbers of classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from cast_exp.data.datasets.base import Sized, readable, require_size
from cast_exp.data.datasets.palette import PARTS, Palette, palette_labels
from cast_exp.errors import UserError
from cast_exp.ops.labels import VOID

Value = Annotated[int, Field(ge=0, le=255)]

_UNKNOWN = -1


class LabelReader:
    """Reads label maps whose values or colours stand for classes.

    At most one of `label_map`, `reduce_zero_label` and `palette` is given; without them, a value is
    the number of a class.

    Args:
        classes: Names of the classes.
        label_map: The number of the class, or 255 for void, of each value.
        reduce_zero_label: 0 is void and 1 is the first class, as in mmsegmentation.
        ignore_index: A value that is void unless `label_map` has it.
        palette: The colours of each class and, by the name "void", of what is ignored.

    Raises:
        UserError: These contradict each other, or see `palette_labels`.
    """

    def __init__(
        self,
        classes: Sequence[str],
        label_map: Mapping[Value, Value] | None = None,
        reduce_zero_label: bool = False,
        ignore_index: Value = VOID,
        palette: Palette | None = None,
    ) -> None:
        if (label_map is not None) + reduce_zero_label + (palette is not None) > 1:
            raise UserError("set one of data.dataset.label_map, reduce_zero_label and palette only")
        self._colours = palette is not None
        first, last = int(reduce_zero_label), len(classes) - 1 + reduce_zero_label
        have = f"but the {len(classes)} classes have {first} to {last}"
        if palette is not None:
            labels = palette_labels(palette, classes)
            self._advice = (
                "which data.dataset.palette lacks: give it a class there, or call it void"
            )
        elif label_map is not None:
            labels = {ignore_index: VOID, **label_map}
            self._advice = (
                f"which data.dataset.label_map lacks: map it to a class or to {VOID}, void"
            )
            if wrong := {*label_map.values()} - {*range(len(classes)), VOID}:
                raise UserError(
                    f"data.dataset.label_map maps to {min(wrong)}, {have} ({VOID} is void)"
                )
        else:
            labels = {first + number: number for number in range(len(classes))}
            if ignore_index in labels:
                raise UserError(
                    f"data.dataset.ignore_index={ignore_index} is the value of the class "
                    f"{classes[labels[ignore_index]]}; correct it, or data.dataset.classes"
                )
            void = dict.fromkeys([*range(first), ignore_index])
            labels |= dict.fromkeys(void, VOID)
            self._advice = (
                f"{have} (void: {', '.join(map(str, void))}); correct the file or "
                "data.dataset.classes, or set data.dataset.label_map"
            )
        self._table = np.full(1 << 24 if self._colours else 1 << 8, _UNKNOWN, np.int16)
        self._table[[*labels]] = [*labels.values()]

    def read(self, path: Path, image: Sized) -> NDArray[np.uint8]:
        """Decode the label map of an image: numbers of classes, 255 for void, uint8 (H, W).

        Raises:
            UnreadableImage: Missing, empty, truncated or undecodable file.
            UserError: A value or colour that is of no class, or see `read_map`.
        """
        values = read_map(path, image, self._colours)
        labels: NDArray[np.int16] = self._table[values]
        if (strange := values[labels == _UNKNOWN]).size:
            lossy = "; JPEG changes values: save maps as PNG" * (path.suffix in (".jpg", ".jpeg"))
            raise UserError(
                f"{path} has {self._described(strange, values.size)}, {self._advice}{lossy}"
            )
        return labels.astype(np.uint8)

    def _described(self, strange: NDArray[Any], size: int) -> str:
        """The most frequent of some values, of all the pixels of a map."""
        found, pixels = np.unique(strange, return_counts=True)
        most = found[pixels.argmax()]
        named = (
            f"the colour {(most // PARTS % 256).tolist()}" if self._colours else f"the value {most}"
        )
        others = f" (and {len(found) - 1} more unknown)" if len(found) > 1 else ""
        return f"{named} in {pixels.max()} of {size} pixels{others}"


def read_map(path: Path, image: Sized, colours: bool = False) -> NDArray[Any]:
    """Decode a map of an image as its file has it.

    Args:
        path: The file.
        image: The image.
        colours: Read colours; without, grey values or the indices of a palette.

    Returns:
        uint8 (H, W); colours as numbers, int64 (H, W), see `PARTS`.

    Raises:
        UnreadableImage: Missing, empty, truncated or undecodable file.
        UserError: The map is neither grey nor has a palette, or has more than 8 bits, and colours
            are not asked for. Or it has another size than its image.
    """
    with readable(path), Image.open(path) as file:
        drawn = file.convert("RGB") if colours else file.copy()
    if not colours and drawn.mode not in ("1", "L", "P"):
        raise UserError(
            f"{path} is an image of mode {drawn.mode}; a label map should be grey or have a "
            "palette, with 8 bits, or its colours should be in data.dataset.palette"
        )
    values = np.array(drawn, np.uint8)
    require_size(path, values[..., 0] if colours else values, image)
    return values @ PARTS if colours else values
