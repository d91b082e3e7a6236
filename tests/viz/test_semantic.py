import numpy as np
import pytest

from cast_exp.viz import (
    SemanticPicture,
    class_colours,
    paint_classes,
    palette,
    semantic_sheet,
)
from cast_exp.viz.semantic import class_legend, error_map

CLASSES = ["background", "beetle", "dog"]


def picture(height: int, width: int, seed: int) -> SemanticPicture:
    random = np.random.default_rng(seed)
    image = random.integers(256, size=(height, width, 3), dtype=np.uint8)
    fine = np.arange(height * width).reshape(height, width) // 8
    truth = random.integers(3, size=(height, width))
    truth[0] = 255
    return SemanticPicture(image, [fine, fine // 4], random.integers(3, size=truth.shape), truth)


def test_colours_tell_classes_apart_and_agree_with_the_palette() -> None:
    colours = class_colours(CLASSES)
    assert np.array_equal(colours[1:], palette(2))
    assert colours[0].max() < 60
    assert np.array_equal(class_colours(["sky", "road"]), palette(2))
    assert class_colours([]).shape == (0, 3)


def test_each_pixel_has_the_colour_of_its_class_and_void_is_grey_stripes() -> None:
    colours = class_colours(CLASSES)
    labels = np.array([[0, 1, 2, 1]] * 3 + [[255] * 4, [-1] * 4])
    painted = paint_classes(labels, colours)
    assert np.array_equal(painted[:3], colours[labels[:3]])
    void = painted[3:]
    assert (void[..., 0] == void[..., 1]).all()
    assert (void[..., 0] == void[..., 2]).all()
    assert len(np.unique(void)) == 2


def test_errors_are_red_and_nothing_else_is() -> None:
    case = picture(9, 14, 0)
    painted = error_map(case.image, case.prediction, case.truth, 3).astype(int)
    red = (painted[..., 0] > 200) & (painted[..., 1] < 60)
    assert np.array_equal(red, (case.prediction != case.truth) & (case.truth != 255))
    assert (painted[~red].max(-1) == painted[~red].min(-1)).all()


@pytest.mark.parametrize("levels", [1, 2])
def test_a_sheet_takes_images_of_any_size(levels: int) -> None:
    pictures = [picture(20, 31, 0), picture(40, 17, 1)]
    pictures = [
        SemanticPicture(p.image, p.levels[:levels], p.prediction, p.truth) for p in pictures
    ]
    sheet = semantic_sheet(pictures, CLASSES, side=64)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] >= 64 * (4 + levels)
    assert sheet.shape[0] >= 2 * 64
    colours = {tuple(colour) for colour in sheet.reshape(-1, 3)}
    assert {tuple(colour) for colour in class_colours(CLASSES)} <= colours


def test_a_long_legend_takes_several_lines() -> None:
    names = [f"class {number}" for number in range(30)]
    short, long = (
        class_legend(names[:count], class_colours(names[:count]), 600, 12) for count in (2, 30)
    )
    assert short.shape[1] == long.shape[1] == 600
    assert long.shape[0] > 3 * short.shape[0]
