"""Colours of Segmenter's recipe."""

import colorsys

import numpy as np

from cast_exp.data.photometric import distorted, outline_values


def test_each_distortion_keeps_to_its_bounds() -> None:
    """Of a grey, which has neither saturation nor hue: what is left is contrast and brightness."""
    image = np.full((2, 2, 3), 100, np.uint8)
    found = np.array([distorted(image, np.random.default_rng(n))[0, 0] for n in range(400)])
    assert (found == found[:, :1]).all()
    grey = found[:, 0]
    assert 0.18 < (grey == 100).mean() < 0.32, "in a quarter of the cases nothing happens"
    assert 34 <= grey.min() < 55  # 68 halved
    assert 170 < grey.max() <= 198
    assert abs(np.mean(grey < 100) - np.mean(grey > 100)) < 0.12


def test_hue_and_saturation() -> None:
    """Of a colour, where brightness and contrast change neither by much."""
    image = np.full((1, 1, 3), (120, 60, 60), np.uint8)
    before = colorsys.rgb_to_hsv(*image[0, 0] / 255.0)
    hues, saturations = [], []
    for seed in range(400):
        hue, saturation, _ = colorsys.rgb_to_hsv(
            *distorted(image, np.random.default_rng(seed))[0, 0] / 255.0
        )
        hues.append((hue - before[0] + 0.5) % 1 - 0.5)
        saturations.append(saturation)
    degrees = 360 * np.array(hues)
    assert -39 < degrees.min() < -28
    assert 28 < degrees.max() < 39
    assert 0.4 < np.mean(np.abs(degrees) < 3) < 0.65
    assert min(saturations) < 0.35
    assert max(saturations) > 0.7


def test_what_is_drawn_decides() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3)).astype(np.uint8)
    first, again, other = (distorted(image, np.random.default_rng(n)) for n in (3, 3, 4))
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_values_of_the_inverted_image() -> None:
    """Black stays black, all else is 256 - v of what normalising and back leaves of a value."""
    plain, inverted = (outline_values(inverted).astype(int) for inverted in (False, True))
    assert (plain == np.arange(256)).all()
    back = (256 - inverted) % 256
    lost = plain - back
    assert [int((row != 0).sum()) for row in lost] == [20, 2, 14]  # as counted in the release
    assert set(lost.flatten().tolist()) == {0, 1}
    assert not inverted[:, 0].any()
