"""The creatures of `shapes`: bodies, heads and limbs as outlines, without colour."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cast_exp.data.datasets.shapes.textures import Coat

Points = NDArray[np.float64]

PARTS = (
    *("background", "torso", "tail", "head", "ear", "eye"),
    *("upper arm", "forearm", "thigh", "shank"),
)
"""Names of the part ids. Ears are also horns, beaks and antennae; arms also forelegs, wings, claws
and fins."""

PART_GROUPS = {
    "torso": ("torso", "tail"),
    "head": ("head", "ear", "eye"),
    "upper limb": ("upper arm", "forearm"),
    "lower limb": ("thigh", "shank"),
}
"""The level between parts and creatures: each part is in one group, all groups make a creature."""

_TORSO, _TAIL, _HEAD, _EAR, _EYE = map(PARTS.index, ("torso", "tail", "head", "ear", "eye"))
_ARM = (PARTS.index("upper arm"), PARTS.index("forearm"))
_LEG = (PARTS.index("thigh"), PARTS.index("shank"))


@dataclass(frozen=True)
class Form:
    """A closed outline: a superellipse, tapered along its length and bent.

    Args:
        length: Extent along x.
        width: Extent along y.
        squareness: Exponent of the superellipse: 2 is an ellipse, larger ones tend to a box.
        taper: Gain of width at the front end and loss at the back, as a share; 1 is a triangle.
        bend: How far the middle is shifted against the ends, in lengths.
    """

    length: float
    width: float
    squareness: float = 2
    taper: float = 0
    bend: float = 0

    def outline(self, corners: int = 32) -> Points:
        """Corners of the polygon around the origin, (corners, 2)."""
        angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        circle = np.stack([np.cos(angle), np.sin(angle)])
        x, y = np.sign(circle) * np.abs(circle) ** (2 / self.squareness)
        y = self.width / 2 * y * (1 + self.taper * x) + self.bend * self.length * (0.5 - x**2)
        return np.stack([self.length / 2 * x, y], 1)


@dataclass(frozen=True)
class Limb:
    """Two bones with round ends; also a tail.

    Args:
        at: Where it starts, in half lengths and half widths of the body.
        angle: Direction of the first bone in degrees; 0 is forward, 90 down.
        length: Length of both bones together.
        width: Thickness.
        bend: Turn of the second bone against the first in degrees.
    """

    at: tuple[float, float]
    angle: float
    length: float
    width: float
    bend: float = 0

    def mirrored(self) -> "Limb":
        """Return the same limb on the other side of the body."""
        return Limb((self.at[0], -self.at[1]), -self.angle, self.length, self.width, -self.bend)


@dataclass(frozen=True)
class Ear:
    """A triangle on the head.

    Args:
        angle: Where it points, in degrees as for limbs.
        length: From the middle of the head to its tip, in head lengths.
        width: Width at its root, in head lengths.
    """

    angle: float
    length: float
    width: float


@dataclass(frozen=True)
class Species:
    """Build of a class of creatures, which look to the right (+x, +y is down), in any unit.

    Args:
        name: Name of the class.
        coat: Pattern of its texture.
        body: Outline of the torso.
        head: Outline of the head.
        head_at: Middle of the head, in half lengths and half widths of the body.
        neck: Thickness of the neck, a part of the torso; 0 is none.
        ears: What stands out from the head.
        arms: Upper limbs.
        legs: Lower limbs.
        tail: The tail, if there is one.
    """

    name: str
    coat: Coat
    body: Form
    head: Form
    head_at: tuple[float, float]
    neck: float = 0
    ears: Sequence[Ear] = ()
    arms: Sequence[Limb] = ()
    legs: Sequence[Limb] = ()
    tail: Limb | None = None


def _pairs(*limbs: Limb) -> tuple[Limb, ...]:
    """Limbs on both sides, for creatures seen from above."""
    return (*limbs, *(limb.mirrored() for limb in limbs))


SPECIES = (
    Species(
        "beetle",
        Coat("stripes", 0.1),
        Form(1.0, 0.85),
        Form(0.32, 0.42),
        (1.1, 0),
        ears=(Ear(-35, 1.5, 0.25), Ear(35, 1.5, 0.25)),
        arms=_pairs(Limb((0.5, 0.7), 55, 0.6, 0.1, -25)),
        legs=_pairs(Limb((0, 0.9), 90, 0.6, 0.1, 20), Limb((-0.5, 0.7), 125, 0.6, 0.1, 30)),
    ),
    Species(
        "dog",
        Coat("spots", 0.22),
        Form(1.1, 0.5, squareness=5),
        Form(0.46, 0.36, squareness=4),
        (1.15, -1.3),
        neck=0.24,
        ears=(Ear(-110, 0.7, 0.45), Ear(-70, 0.7, 0.45)),
        arms=(Limb((0.85, 0.7), 90, 0.6, 0.15), Limb((0.5, 0.7), 90, 0.6, 0.15)),
        legs=(Limb((-0.85, 0.7), 90, 0.6, 0.15), Limb((-0.5, 0.7), 90, 0.6, 0.15)),
        tail=Limb((-0.9, -0.7), -130, 0.45, 0.1),
    ),
    Species(
        "human",
        Coat("stripes", 0.45),
        Form(0.5, 0.85, squareness=4),
        Form(0.38, 0.42),
        (0, -1.6),
        neck=0.16,
        arms=(Limb((0.9, -0.75), 35, 0.75, 0.17, 30), Limb((-0.9, -0.75), 145, 0.75, 0.17, -30)),
        legs=(Limb((0.5, 0.8), 80, 0.85, 0.2), Limb((-0.5, 0.8), 100, 0.85, 0.2)),
    ),
    Species(
        "squid",
        Coat("checks", 0.12),
        Form(1.2, 0.8, taper=-0.8),
        Form(0.42, 0.52),
        (-1.1, 0),
        arms=_pairs(Limb((-1.3, 0.5), 140, 1.0, 0.12, 30)),
        legs=_pairs(Limb((-1.3, 0.1), 174, 0.8, 0.12, 8), Limb((-1.3, 0.3), 158, 0.8, 0.12, 16)),
    ),
    Species(
        "crab",
        Coat("blotches", 0.1),
        Form(0.65, 1.1, squareness=2.5),
        Form(0.24, 0.36, squareness=3),
        (1.1, 0),
        arms=_pairs(Limb((0.7, 0.7), 35, 0.85, 0.22, -70)),
        legs=_pairs(
            Limb((0.1, 0.95), 75, 0.5, 0.09, 25),
            Limb((-0.35, 0.9), 100, 0.5, 0.09, 25),
            Limb((-0.75, 0.75), 125, 0.5, 0.09, 25),
        ),
    ),
    Species(
        "fish",
        Coat("stripes", 0.22),
        Form(1.3, 0.8, squareness=1.7),
        Form(0.5, 0.5, taper=-0.4),
        (0.85, 0),
        arms=(Limb((0.1, -0.6), -120, 0.5, 0.3, -25),),
        legs=(Limb((-0.05, 0.6), 120, 0.5, 0.26, 25),),
        tail=Limb((-0.9, 0), 180, 0.6, 0.34),
    ),
    Species(
        "bird",
        Coat("checks", 0.26),
        Form(0.95, 0.7, taper=0.35),
        Form(0.42, 0.42),
        (0.85, -0.95),
        ears=(Ear(10, 1.1, 0.5),),
        arms=(Limb((-0.2, -0.3), -115, 0.75, 0.28, -20),),
        legs=(Limb((0.1, 0.9), 95, 0.55, 0.09, -15), Limb((-0.25, 0.9), 95, 0.55, 0.09, -15)),
        tail=Limb((-0.8, 0), 170, 0.5, 0.2),
    ),
    Species(
        "giraffe",
        Coat("spots", 0.11),
        Form(0.8, 0.45, taper=0.25),
        Form(0.4, 0.22, squareness=3),
        (1.6, -3.8),
        neck=0.2,
        ears=(Ear(-100, 0.5, 0.25),),
        arms=(Limb((0.75, 0.6), 90, 0.8, 0.13), Limb((0.45, 0.6), 90, 0.8, 0.13)),
        legs=(Limb((-0.75, 0.6), 90, 0.8, 0.13), Limb((-0.45, 0.6), 90, 0.8, 0.13)),
        tail=Limb((-1.0, -0.3), 120, 0.35, 0.08),
    ),
    Species(
        "lizard",
        Coat("blotches", 0.2),
        Form(1.1, 0.4),
        Form(0.46, 0.36, taper=-0.5),
        (1.25, 0),
        arms=_pairs(Limb((0.65, 0.6), 60, 0.5, 0.15, 40)),
        legs=_pairs(Limb((-0.7, 0.6), 110, 0.55, 0.15, -40)),
        tail=Limb((-0.9, 0), 180, 0.8, 0.18, 45),
    ),
    Species(
        "seal",
        Coat("checks", 0.5),
        Form(1.7, 0.6, taper=0.45, bend=0.2),
        Form(0.42, 0.4),
        (0.95, -1.2),
        ears=(Ear(20, 0.7, 0.5),),
        arms=(Limb((0.35, 0.9), 120, 0.5, 0.18, 30),),
        legs=(Limb((-0.85, -0.5), 160, 0.45, 0.2, -40),),
    ),
)
"""Builds of all classes in the order of the labels."""


@dataclass(frozen=True)
class Piece:
    """A polygon or thick line of a creature.

    Args:
        part: Part id, an index of `PARTS`.
        points: Corners, (P, 2).
        thickness: Width of the line; 0 is a filled polygon.
    """

    part: int
    points: Points
    thickness: float = 0

    def moved(self, scale: float, shift: Points) -> "Piece":
        """Return it `scale` times as large, then shifted."""
        return Piece(self.part, self.points * scale + shift, self.thickness * scale)


@dataclass(frozen=True)
class Creature:
    """An individual.

    Args:
        pieces: What it is made of, from back to front.
        extent: Its width and height; it starts at (0, 0).
    """

    pieces: Sequence[Piece]
    extent: Points


def grow(species: Species, rng: np.random.Generator, rotation: float = 20) -> Creature:
    """Draw an individual of a species: proportions, pose, direction.

    Args:
        species: Its build.
        rng: Source of the individual.
        rotation: It is turned by up to this many degrees either way.

    Returns:
        The creature, scaled so that the larger extent is 1.
    """
    body = species.body.outline() * rng.uniform(0.88, 1.12, 2)
    half = np.abs(body).max(0)
    limbs = [(_ARM, limb) for limb in species.arms] + [(_LEG, limb) for limb in species.legs]
    if species.tail:
        limbs.append(((_TAIL, _TAIL), species.tail))
    pieces = [piece for parts, limb in limbs for piece in _bones(parts, limb, half, rng)]

    size = rng.uniform(0.88, 1.12)
    middle = np.array(species.head_at) * half
    if species.neck:
        root = np.clip(species.head_at, -0.7, 0.7) * half
        pieces.append(Piece(_TORSO, np.stack([root, middle]), species.neck * size))
    pieces.append(Piece(_TORSO, body))
    head = species.head.outline() * size
    length, width = np.ptp(head, 0)
    pieces += [Piece(_EAR, middle + length * _triangle(ear, rng)) for ear in species.ears]
    pieces.append(Piece(_HEAD, middle + head))
    eye = Form(0.3 * min(length, width), 0.3 * min(length, width))
    pieces.append(Piece(_EYE, middle + eye.outline(12)))

    turn = np.radians(rng.uniform(-rotation, rotation))
    frame = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    frame[:, 0] *= rng.choice([-1, 1])
    turned = [Piece(piece.part, piece.points @ frame, piece.thickness) for piece in pieces]
    low = np.min([piece.points.min(0) - piece.thickness / 2 for piece in turned], 0)
    high = np.max([piece.points.max(0) + piece.thickness / 2 for piece in turned], 0)
    scale = 1 / (high - low).max()
    return Creature([piece.moved(scale, -scale * low) for piece in turned], scale * (high - low))


def _bones(
    parts: tuple[int, int], limb: Limb, half: Points, rng: np.random.Generator
) -> list[Piece]:
    first, turn = np.radians(rng.normal((limb.angle, limb.bend), (10, 14)))
    angles = np.array([first, first + turn])
    bones = (
        limb.length / 2 * rng.uniform(0.88, 1.12) * np.stack([np.cos(angles), np.sin(angles)], 1)
    )
    start = np.array(limb.at) * half
    joint = start + bones[0]
    return [
        Piece(parts[1], np.stack([joint, joint + bones[1]]), 0.85 * limb.width),
        Piece(parts[0], np.stack([start, joint]), limb.width),
    ]


def _triangle(ear: Ear, rng: np.random.Generator) -> Points:
    angle = np.radians(ear.angle + rng.normal(0, 8))
    along = np.array([np.cos(angle), np.sin(angle)])
    across = ear.width / 2 * np.array([-along[1], along[0]])
    return np.stack([0.2 * along + across, 0.2 * along - across, ear.length * along])
