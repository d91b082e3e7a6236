"""The textures of `shapes`: coats of two colours in a pattern, and mottled backgrounds."""

import colorsys
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Colours = NDArray[np.float64]
Range = tuple[float, float]

LIGHT: Range = (0.8, 0.9)
"""Lightness (0..1) of one colour of every coat."""
DARK: Range = (0.12, 0.22)
"""Lightness of the other."""
GROUND: Range = (0.45, 0.55)
"""Lightness of backgrounds, between the two."""

_SATURATION = (0.1, 0.6)
_GROUND_CONTRAST = 0.05
_MOTTLES = 32
_BLOTCHES = 24
_SINE = np.sin(np.arange(256) * (2 * np.pi / 256))
_SPOT_LEVEL = 0.9  # of the sum of two sines, -2..2; the spots cover a quarter


@dataclass(frozen=True)
class Coat:
    """Pattern of a creature's coat, which may have any colours.

    Args:
        kind: What is repeated; blotches have no order.
        period: Length of its repeat, as a share of the image's side.
    """

    kind: Literal["stripes", "checks", "spots", "blotches"]
    period: float


def draw_ground(rng: np.random.Generator) -> Colours:
    """Draw the two colours of a background, nearly the same: RGB in 0..255, (2, 3)."""
    hue, lightness, saturation = rng.uniform(), rng.uniform(*GROUND), rng.uniform(*_SATURATION)
    return _rgb([(hue, lightness, saturation), (hue, lightness - _GROUND_CONTRAST, saturation)])


def draw_coat(rng: np.random.Generator) -> Colours:
    """Draw the colours of a coat, a light and a dark one in either order: RGB in 0..255, (2, 3)."""
    hue, saturation = rng.uniform(), rng.uniform(*_SATURATION)
    light, dark = rng.uniform(*LIGHT), rng.uniform(*DARK)
    shift = rng.normal(0, 0.03)
    return rng.permutation(_rgb([(hue, light, saturation), (hue + shift, dark, saturation)]))


def paint_ground(rng: np.random.Generator, colours: Colours, side: int) -> Pixels:
    """Paint a mottled background: RGB, uint8 (side, side, 3).

    As with a coat, the same state of `rng` gives the same picture in any size.
    """
    mottles = rng.uniform(0, 1, (_MOTTLES, _MOTTLES))
    return _mix(cv2.resize(mottles, (side, side), interpolation=cv2.INTER_CUBIC), colours)


def paint_coat(rng: np.random.Generator, coat: Coat, colours: Colours, side: int) -> Pixels:
    """Paint a coat all over an image: RGB, uint8 (side, side, 3), only the two colours in it.

    Direction and place of the pattern are drawn. But for spots, each colour covers half.
    """
    angle, offset = rng.uniform(0, np.pi), rng.uniform(0, 256, 2)
    noise = rng.uniform(-1, 1, (_BLOTCHES, _BLOTCHES))
    if coat.kind == "blotches":
        cells = round(1 / coat.period) + 2
        field = cv2.resize(noise[:cells, :cells], (side, side), interpolation=cv2.INTER_CUBIC)
        level = np.median(field)
    else:
        along = _SINE[_phase(side, coat.period, angle, offset[0])]
        across = _SINE[_phase(side, coat.period, angle + np.pi / 2, offset[1])]
        field, level = {
            "stripes": (along, 0),
            "checks": (along * across, 0),
            "spots": (along + across, _SPOT_LEVEL),
        }[coat.kind]
    return _mix(field > level, colours)


def _rgb(shades: list[tuple[float, float, float]]) -> Colours:
    """Hue, lightness and saturation, each 0..1, as RGB in 0..255."""
    return 255 * np.array([colorsys.hls_to_rgb(h % 1, li, s) for h, li, s in shades])


def _mix(shares: NDArray[np.generic], colours: Colours) -> Pixels:
    """Colour every pixel by the share 0..1 of the second colour in it."""
    palette = np.linspace(colours[0], colours[1], 256).round().astype(np.uint8)
    index = (np.clip(shares, 0, 1) * 255).astype(np.uint8)
    mixed: Pixels = cv2.applyColorMap(index, palette[:, None])
    return mixed


def _phase(side: int, period: float, angle: float, offset: float) -> Pixels:
    """Phase of a plane wave, one turn being 256, at every pixel: uint8 (side, side)."""
    step = 256 / (period * side)
    ramp = np.arange(side) * step
    x = (ramp * np.cos(angle)).astype(np.int32).astype(np.uint8)
    y = (ramp * np.sin(angle) + offset).astype(np.int32).astype(np.uint8)
    phase: Pixels = y[:, None] + x  # wraps around, which is what a phase does
    return phase
