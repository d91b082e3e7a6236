"""Coats and backgrounds: colours, shares and periods."""

from typing import Any

import numpy as np
import pytest

from cast_exp.data.datasets.shapes.textures import (
    Coat,
    draw_coat,
    draw_ground,
    paint_coat,
    paint_ground,
)


def test_backgrounds_are_between_the_colours_of_coats_and_hues_are_alike() -> None:
    rng = np.random.default_rng(0)
    grounds = np.array([draw_ground(rng) for _ in range(2000)])
    coats = np.array([draw_coat(rng) for _ in range(2000)])
    lightness = [(colours.min(-1) + colours.max(-1)) / 510 for colours in (grounds, coats)]
    assert lightness[1].min(1).max() < lightness[0].min() - 0.15
    assert lightness[1].max(1).min() > lightness[0].max() + 0.15
    assert lightness[1].argmin(1).mean() == pytest.approx(0.5, abs=0.05)  # in either order
    for colours in (grounds, coats):  # no hue is preferred
        np.testing.assert_allclose(colours.mean((0, 1)), colours.mean(), atol=4)


@pytest.mark.parametrize("kind", ["stripes", "checks", "spots", "blotches"])
def test_coats_have_their_two_colours_in_equal_or_fixed_shares(kind: Any) -> None:
    colours = np.array([[250.0, 10, 40], [20, 230, 90]])
    shares = []
    for seed in range(20):
        painted = paint_coat(np.random.default_rng(seed), Coat(kind, 0.2), colours, 96)
        assert painted.dtype == np.uint8
        assert painted.shape == (96, 96, 3)
        second = (painted == colours[1]).all(-1)
        assert (second | (painted == colours[0]).all(-1)).all()
        shares.append(second.mean())
    assert np.mean(shares) == pytest.approx(0.2 if kind == "spots" else 0.5, abs=0.03)
    assert np.ptp(shares) < 0.12


def test_backgrounds_are_mottled_between_their_colours() -> None:
    colours = np.array([[120.0, 150, 90], [112, 140, 84]])
    painted = paint_ground(np.random.default_rng(0), colours, 64)
    assert painted.shape == (64, 64, 3)
    assert (painted >= colours.min(0)).all()
    assert (painted <= colours.max(0)).all()
    assert len(np.unique(painted[..., 1])) > 6


@pytest.mark.parametrize("period", [0.1, 0.25])
def test_a_coat_repeats_after_its_period(period: float) -> None:
    colours = np.array([[250.0, 10, 40], [20, 230, 90]])
    for seed in range(6):
        painted = paint_coat(np.random.default_rng(seed), Coat("stripes", period), colours, 240)
        spectrum = np.abs(np.fft.fft2(painted[..., 0] - painted[..., 0].mean()))
        row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
        waves = np.hypot(min(row, 240 - row), min(column, 240 - column))
        assert waves == pytest.approx(1 / period, abs=0.8)
