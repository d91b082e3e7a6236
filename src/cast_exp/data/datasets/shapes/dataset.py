"""`shapes`: pictures of textured creatures with every kind of ground truth, made on the fly."""

from collections.abc import Sequence
from typing import Annotated, Any

import cv2
import numpy as np
from PIL import Image
from pydantic import Field
from torch.utils.data import Dataset

from cast_exp.config import Ordered
from cast_exp.data.datasets.base import Split
from cast_exp.data.datasets.shapes.creatures import PARTS, SPECIES, Creature, Piece, grow
from cast_exp.data.datasets.shapes.textures import (
    Coat,
    Pixels,
    draw_coat,
    draw_ground,
    paint_coat,
    paint_ground,
)

_OUTLINE = 0.012
_INK = 45
_TRIES = 8
_LARGEST = 0.97  # extent of a creature, as a share of the image's side
_FINE = 128  # side of the raster on which areas are measured
Area = Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(le=1)]], Ordered]

_PART_BITS = 4
_PART_MASK = (1 << _PART_BITS) - 1


class Shapes(Dataset[dict[str, Any]]):
    """Textured creatures on textured backgrounds, drawn from a seed; nothing is downloaded.

    The classes differ in build (body, head, ears, tail, number and place of the limbs) and in the
    pattern of their coats, not in colour: every coat has a light and a dark colour, backgrounds are
    between the two, hues are drawn alike for all. Proportions, pose, direction, size and place
    vary. Image ``i`` of a split is a pure function of (``seed``,
    split, ``i``), the same scene in every ``size``; the splits share no image. The classes take
    turns, so every ``classes`` images in a row hold one of each.

    An item has, besides ``image`` (RGB) and ``label``, uint8 arrays (size, size): ``foreground``
    (0 or 1); ``semantic`` (0 background, else label + 1); ``instance`` (0 background, 1 is the
    creature of ``label``, which nothing covers; the others may be covered); ``parts`` (indices of
    `PARTS`, which `PART_GROUPS` groups). ``regions`` is a list of one int64 map (size, size): the
    background and each visible part of each creature, numbered from 0.

    Args:
        split: ``train`` or ``val``.
        train: Number of training images.
        val: Number of validation images.
        size: Side of the images in pixels.
        classes: Number of classes, the first ones of `SPECIES`.
        creatures: Creatures in each image; ``label`` is the class of the foremost, the others are
            of any class.
        area: Bounds of the share of the image that a creature covers if it is alone and that is not
            too large for the image; several share it. It is the same for all classes, so that their
            colour histograms do not tell them apart.
        seed: Which data set it is.
    """

    def __init__(
        self,
        split: Split,
        train: Annotated[int, Field(ge=1)] = 4096,
        val: Annotated[int, Field(ge=1)] = 1024,
        size: Annotated[int, Field(ge=16)] = 96,
        classes: Annotated[int, Field(ge=2, le=len(SPECIES))] = len(SPECIES),
        creatures: Annotated[int, Field(ge=1, le=15)] = 1,
        area: Area = (0.2, 0.3),
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.split = split
        self.size = size
        self.classes = [species.name for species in SPECIES[:classes]]
        self.semantic_classes = ["background", *self.classes]
        self.creatures = creatures
        self.area = area
        self.seed = seed
        self._images = train if split == "train" else val
        # Drawn larger and then averaged, small pictures more so, which smooths the edges.
        self._oversampling = 2 if size >= 160 else 3

    def __len__(self) -> int:
        return self._images

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path(index)}: there are {len(self)} images")
        rng = np.random.default_rng((self.seed, int(self.split == "val"), index))
        label = index % len(self.classes)
        others = rng.integers(len(self.classes), size=self.creatures - 1)
        labels = np.array([label, *others])
        # Every pixel of the canvas holds the instance and the part it shows, in one number.
        side = self.size * self._oversampling
        codes = np.zeros((side, side), np.uint8)
        creatures = self._place([grow(SPECIES[k], rng) for k in labels], rng)
        for instance in range(self.creatures, 0, -1):
            _draw(codes, creatures[instance - 1], instance << _PART_BITS)
        image = self._paint(codes, [SPECIES[k].coat for k in labels], rng)

        middle = slice(self._oversampling // 2, None, self._oversampling)
        codes = codes[middle, middle]
        instances = codes >> _PART_BITS
        regions = np.unique(codes, return_inverse=True)[1].reshape(codes.shape)
        return {
            "image": Image.fromarray(image),
            "label": label,
            "foreground": np.minimum(codes, 1),
            "semantic": np.array([0, *(labels + 1)], np.uint8)[instances],
            "instance": instances,
            "parts": codes & _PART_MASK,
            "regions": [regions.astype(np.int64)],
        }

    def path(self, index: int) -> str:
        """Return a name for image ``index`` in messages."""
        return f"shapes/{self.split}/{index}"

    def _place(self, creatures: Sequence[Creature], rng: np.random.Generator) -> list[list[Piece]]:
        """Spread creatures over the image: the pieces of each, in units of the image's side."""
        placed: list[list[Piece]] = []
        middles = np.empty((0, 2))
        for creature in creatures:
            scale = np.sqrt(rng.uniform(*self.area) / _covered(creature))
            scale = min(scale, _LARGEST) / np.sqrt(self.creatures)
            corners = rng.uniform(0, 1 - scale * creature.extent, (_TRIES, 2))
            tried = corners + scale * creature.extent / 2
            # The place farthest from all others; for the first creature just the first place.
            best = np.linalg.norm(tried[:, None] - middles, axis=-1).min(1, initial=2).argmax()
            middles = np.append(middles, tried[best : best + 1], 0)
            placed.append([piece.moved(scale, corners[best]) for piece in creature.pieces])
        return placed

    def _paint(self, codes: Pixels, coats: Sequence[Coat], rng: np.random.Generator) -> Pixels:
        """Fill background and creatures with textures: RGB, uint8 (size, size, 3)."""
        side = len(codes)
        pixels = paint_ground(rng, draw_ground(rng), side)
        tones = np.full(256, 100, np.uint8)  # brightness of every code in percent
        for instance, coat in enumerate(coats, 1):
            first = instance << _PART_BITS
            mask = cv2.inRange(codes, first, first | _PART_MASK)
            cv2.copyTo(paint_coat(rng, coat, draw_coat(rng), side), mask, pixels)
            tones[first : first + len(PARTS)] = rng.integers(80, 121, len(PARTS))
            tones[first + PARTS.index("eye")] = _INK
        tone = cv2.LUT(codes, tones)
        reach = round(_OUTLINE * side) | 1
        edges = cv2.morphologyEx(codes, cv2.MORPH_GRADIENT, np.ones((reach, reach), np.uint8))
        tone[edges > 0] = _INK
        pixels = cv2.multiply(pixels, cv2.merge([tone, tone, tone]), scale=0.01)
        image: Pixels = cv2.resize(pixels, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return image


def _covered(creature: Creature) -> float:
    """Share that a creature covers of a square as large as its larger extent."""
    codes = np.zeros((_FINE, _FINE), np.uint8)
    _draw(codes, creature.pieces, 1)
    return float(np.count_nonzero(codes) / codes.size)


def _draw(codes: Pixels, pieces: Sequence[Piece], first: int) -> None:
    """Draw a creature, part p as code first + p."""
    side = len(codes)
    for piece in pieces:
        points = np.round(piece.points * (side * 16)).astype(np.int32)  # shift=4: in 16ths
        if piece.thickness:
            thickness = max(1, round(piece.thickness * side))
            cv2.polylines(codes, [points], False, first + piece.part, thickness, shift=4)
        else:
            cv2.fillPoly(codes, [points], first + piece.part, shift=4)
