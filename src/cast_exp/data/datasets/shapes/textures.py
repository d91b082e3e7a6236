"""The textures of `shapes`: two colours mixed in stripes, checks, spots, blotches or a ramp."""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Colours = NDArray[np.float64]

KINDS = ("stripes", "checks", "spots", "blotches", "ramp")
BACKGROUND_CONTRAST = (0.02, 0.08)
"""How far apart in lightness (0..1) the two colours of a background are."""
COAT_CONTRAST = (0.12, 0.25)
"""The same of a creature's coat."""

_LUMA = np.array([0.299, 0.587, 0.114])
_CONTRAST = 40
_BLOTCHES = 24
_SINE = np.sin(np.arange(256) * (2 * np.pi / 256))
_SOFT = np.round(127.5 + 127.5 * _SINE).astype(np.uint8)
_STEEP = np.round(127.5 + 127.5 * np.clip(2.5 * _SINE, -1, 1)).astype(np.uint8)


@dataclass(frozen=True)
class Coat:
    """Pattern of a creature's coat, which may have any colours.

    Args:
        kind: One of `KINDS`, or "plain".
        period: Length of its repeat, as a share of the image's side.
    """

    kind: str
    period: float = 0.2


def draw_colours(rng: np.random.Generator, creatures: int) -> list[Colours]:
    """Draw the two colours of each texture of an image.

    All creatures differ from the background in brightness, so that they show in grey, too. Creature
    and background are drawn together until they do, which gives both the same mean colours.

    Returns:
        The background's and each creature's, RGB in 0..255, (2, 3).
    """
    background, first = _two_colours(rng, BACKGROUND_CONTRAST), _two_colours(rng, COAT_CONTRAST)
    while not _contrast(background, first):
        background, first = _two_colours(rng, BACKGROUND_CONTRAST), _two_colours(rng, COAT_CONTRAST)
    colours = [background, first]
    while len(colours) <= creatures:
        another = _two_colours(rng, COAT_CONTRAST)
        if _contrast(background, another):
            colours.append(another)
    return colours


def paint_texture(
    rng: np.random.Generator, colours: Colours, side: int, coat: Coat | None = None
) -> Pixels:
    """Draw a texture and paint it over an image.

    Nothing that is drawn depends on `side`: the same state of `rng` gives the same picture in any
    size.

    Args:
        rng: Source of kind, size, direction and place.
        colours: The two colours that are mixed, (2, 3).
        side: Side of the image in pixels.
        coat: The kind and size, if they are not to be drawn.

    Returns:
        RGB, uint8 (side, side, 3).
    """
    kind = KINDS[rng.integers(len(KINDS))]
    period, angle = rng.uniform(0.1, 0.3), rng.uniform(0, np.pi)
    if coat is not None:
        kind, period = coat.kind, coat.period
    offset = rng.uniform(0, 256, 2)
    noise = rng.uniform(-3, 4, (_BLOTCHES, _BLOTCHES))
    if kind == "blotches":
        cells = round(1 / period) + 2
        mix = cv2.resize(noise[:cells, :cells], (side, side), interpolation=cv2.INTER_CUBIC)
        mix = (np.clip(mix, 0, 1) * 255).astype(np.uint8)
    elif kind == "plain":
        mix = np.full((side, side), 128, np.uint8)
    elif kind == "ramp":
        mix = _SOFT[_phase(side, 2, angle, offset[0])]
    else:
        along = _phase(side, period, angle, offset[0])
        across = _phase(side, period, angle + np.pi / 2, offset[1])
        if kind == "stripes":
            mix = _STEEP[along]
        elif kind == "checks":
            mix = (along ^ across) >> 7
            mix *= 255
        else:
            mix = cv2.compare(cv2.add(_SOFT[along] >> 1, _SOFT[across] >> 1), 165, cv2.CMP_GT)
    palette = np.linspace(colours[0], colours[1], 256).round().astype(np.uint8)
    painted: Pixels = cv2.applyColorMap(mix, palette[:, None])
    return painted


def _two_colours(rng: np.random.Generator, contrast: tuple[float, float]) -> Colours:
    hue, lightness, saturation = rng.uniform((0, 0.2, 0.2), (1, 0.8, 0.8))
    second_hue = hue + rng.normal(0, 0.03)
    second_lightness = np.clip(lightness + rng.choice([-1, 1]) * rng.uniform(*contrast), 0.1, 0.9)
    return 255 * np.array(
        [
            colorsys.hls_to_rgb(hue, lightness, saturation),
            colorsys.hls_to_rgb(second_hue % 1, second_lightness, saturation),
        ]
    )


def _contrast(a: Colours, b: Colours) -> bool:
    return bool(abs((a.mean(0) - b.mean(0)) @ _LUMA) > _CONTRAST)


def _phase(side: int, period: float, angle: float, offset: float) -> Pixels:
    """Phase of a plane wave, one turn being 256, at every pixel: uint8 (side, side)."""
    step = 256 / (period * side)
    ramp = np.arange(side) * step
    x = (ramp * np.cos(angle)).astype(np.int32).astype(np.uint8)
    y = (ramp * np.sin(angle) + offset).astype(np.int32).astype(np.uint8)
    phase: Pixels = y[:, None] + x  # wraps around, which is what a phase does
    return phase
