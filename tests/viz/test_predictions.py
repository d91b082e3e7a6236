import numpy as np

from cast_exp.viz import NamedPicture, prediction_sheet


def tint(pixels: np.ndarray) -> float:
    """How much more red than green the letters are."""
    return float(np.sum(pixels[..., 0].astype(int) - pixels[..., 1]))


def test_right_names_are_green_and_wrong_ones_red() -> None:
    grey = np.full((10, 20, 3), 99, np.uint8)
    right = NamedPicture(grey, "cat", [("cat", 0.9)])
    wrong = NamedPicture(grey, "cat", [("a dog of a name that is far too long for it", 0.9)])
    sheet = prediction_sheet([right, wrong, right], columns=2, side=112)
    middle, half = sheet.shape[0] // 2, sheet.shape[1] // 2
    assert tint(sheet[:middle, :half]) < 0 < tint(sheet[:middle, half:])
    assert (sheet == 99).all(-1).sum() == 3 * 112 * 56  # its shape is kept
    assert (sheet[:, -7:] == 255).all()  # the long name is cut
    assert (sheet[middle:, half:] == 255).all()  # there is no fourth
