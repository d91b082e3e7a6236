"""What becomes of images that are not 8-bit RGB, in words."""

from dataclasses import dataclass, replace
from typing import Self

from PIL import Image

from cast_exp.data.datasets.images import DeepImage, ValueRange, as_stored

PLAIN = "8-bit RGB"

_GREY, _ALPHA = "8-bit grey, repeated for three channels", "8-bit with alpha, which is dropped"
_MODES = {"RGB": PLAIN, "L": _GREY, "1": _GREY, "LA": _ALPHA, "RGBA": _ALPHA, "PA": _ALPHA}
_DARK = 2**14  # what a camera or scanner may have within 16 bits


@dataclass(frozen=True)
class ImageKind:
    """Images of a kind.

    Attributes:
        name: The kind, and what becomes of it.
        white: See `DeepImage`.
        values: The lowest and the highest, of a `DeepImage`.
        images: How many there are.
    """

    name: str
    white: int | None = None
    values: tuple[float, float] | None = None
    images: int = 1

    @classmethod
    def of(cls, image: Image.Image | DeepImage, value_range: ValueRange | None) -> Self:
        """The kind of an image that is read with a range of values."""
        image = as_stored(image)
        if isinstance(image, Image.Image):
            return cls(_MODES.get(image.mode, f"of mode {image.mode}, converted to RGB"))
        black, white = image.black_and_white(value_range)
        name = f"{image.values.dtype} {'grey' if image.values.ndim == 2 else 'colour'}, "
        name += f"black up to {black:g}, white from {white:g}"
        return cls(name, image.white, image.bounds)

    def __add__(self, other: Self) -> Self:
        """Both together, which are of one name."""
        values = self.values
        if values and other.values:
            values = min(values[0], other.values[0]), max(values[1], other.values[1])
        return replace(self, values=values, images=self.images + other.images)

    @property
    def line(self) -> str:
        """All of it, with rich's markup."""
        low, high = self.values or (0, 0)
        values = f" (values from {low:g} to {high:g})" if self.values else ""
        return f"[yellow]{self.images} images[/] {self.name}{values}"

    @property
    def fault(self) -> str | None:
        """What to do about images that are dark because they have fewer bits than their type."""
        if self.white != 2**16 - 1 or not self.values or self.values[1] >= _DARK:
            return None
        bits = max(int(self.values[1]).bit_length(), 8)
        bits += bits % 2
        return (
            f"[red]dark[/] no value of the 16-bit images is above {self.values[1]}: if they have "
            f"{bits} bits, set data.value_range=[0,{2**bits - 1}]; if not, [0,{self.white}]"
        )
