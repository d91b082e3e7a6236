"""Sheets that compare methods on one image."""

import numpy as np

from cast_exp.viz import comparison_sheet

SIDE = 40


def cell(sheet, row, column):
    """Centre of a picture, well inside of its contours."""
    height, width = SIDE // 2, SIDE
    gap = max(4, width // 40)
    top = 2 * max(11, width // 13)
    y, x = top + row * (height + gap), gap + column * (width + gap)
    return sheet[y : y + height, x : x + width]


def test_methods_are_columns_and_levels_are_rows():
    image = np.zeros((20, 40, 3), np.uint8)
    image[:] = (10, 200, 30)
    left = (np.arange(40) < 20).astype(np.int64)[None].repeat(20, 0)
    void = np.full((20, 40), -1)
    void[:, :10] = 0
    whole = np.zeros((20, 40), np.int64)
    sheet = comparison_sheet(
        image, [left, void, whole], {"a": [left, whole], "b": [whole, whole]}, side=SIDE
    )

    assert (cell(sheet, 0, 0) == (10, 200, 30)).all()
    assert (cell(sheet, 1, 0) == 255).all()
    assert len(np.unique(cell(sheet, 0, 1).reshape(-1, 3), axis=0)) == 3  # two regions, contour
    second = cell(sheet, 1, 1)
    assert (second[:, 12:] == 255).all()  # void
    assert not (second[:, :8] == 255).all(-1).any()
    fine, coarse = cell(sheet, 0, 2), cell(sheet, 1, 2)
    assert len(np.unique(fine.reshape(-1, 3), axis=0)) == 3
    (colour,) = np.unique(coarse.reshape(-1, 3), axis=0)
    assert (fine == colour).all(-1).any()  # its largest part has it
    assert len(np.unique(cell(sheet, 0, 3).reshape(-1, 3), axis=0)) == 1


def test_truth_may_be_larger_than_the_image():
    labels = np.zeros((100, 50), np.int64)
    sheet = comparison_sheet(np.zeros((20, 10, 3), np.uint8), [labels], {"a": [labels]}, side=SIDE)
    assert sheet.shape[0] > SIDE
