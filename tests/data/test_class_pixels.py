import numpy as np
import pytest

from cast_exp.data.class_pixels import class_faults, class_pixels


@pytest.mark.parametrize("classes", [1, 3, 255, 300])
def test_pixels_are_counted(classes: int) -> None:
    values = min(classes, 255)
    labels = np.random.default_rng(0).integers(0, values, (9, 11)).astype(np.uint8)
    labels[2:4] = 255
    counted = class_pixels(labels, classes).tolist()
    assert counted[-1] == 22
    assert counted[:values] == [(labels == value).sum() for value in range(values)]
    assert len(counted) == classes + 1


@pytest.mark.parametrize(
    ("pixels", "every", "some"),
    [
        ([5, 1, 1, 1], [], []),
        ([5, 1, 0, 1], ["1 of 3 classes have no pixel: c"], []),
        ([5, 0, 0, 0], ["2 of 3 classes have no pixel: b, c"], None),
        ([5, 1, 1, 7], [], []),
        ([5, 1, 1, 8], ["53% of the pixels are void"], None),
        ([0, 0, 0, 0], [], []),
    ],
)
def test_faults(pixels: list[int], every: list[str], some: list[str] | None) -> None:
    """A few label maps need not show all classes, but more than half of them."""
    for sampled, expected in ((False, every), (True, every if some is None else some)):
        faults = class_faults(np.array(pixels), ["a", "b", "c"], sampled)
        assert len(faults) == len(expected)
        for fault, start in zip(faults, expected, strict=True):
            assert fault.startswith(start)
            assert "0 and 255" not in fault


def test_masks_of_0_and_255() -> None:
    for sampled in (False, True):
        (fault,) = class_faults(np.array([9, 0, 4]), ["background", "cell"], sampled)
        assert fault == (
            "1 of 2 classes have no pixel: cell; masks of 0 and 255? Set "
            "'data.dataset.label_map={0:0,255:1}'"
        )


def test_many_classes_are_cut() -> None:
    (fault,) = class_faults(np.array([1, 1, *[0] * 10]), [f"c{i}" for i in range(11)])
    assert fault == "9 of 11 classes have no pixel: c2, c3, c4, c5, c6, ..."
