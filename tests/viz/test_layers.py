from pathlib import Path

import numpy as np
import pytest

from cast_exp.errors import UserError
from cast_exp.ops.labels import VOID
from cast_exp.viz.layers import Layers

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
LABELS = np.arange(24).reshape(4, 6) % 5


def test_levels_and_classes_come_back_from_the_file(tmp_path: Path) -> None:
    layers = Layers.of_levels(IMAGE, {"level 1": LABELS * 80, "level 2": LABELS})
    truth = np.where(LABELS == 0, VOID, LABELS - 1)
    layers = layers.also("truth", truth, ["dog", "cat", "cow", "owl"])
    layers.save(tmp_path / "a.npz")
    found = Layers.read(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.image, IMAGE)
    assert set(found.maps) == {"level 2", "truth"}  # labels up to 320 are too high for bytes
    masks = found.masks()
    np.testing.assert_array_equal(masks["truth"]["mask_data"], truth)
    assert masks["truth"]["mask_data"].dtype == np.uint8
    assert masks["truth"]["class_labels"] == {
        0: "dog",
        1: "cat",
        2: "cow",
        3: "owl",
        VOID: "void",
    }
    assert masks["level 2"]["class_labels"][4] == "segment 4"


def test_what_is_below_zero_is_void() -> None:
    masks = Layers.of_levels(IMAGE, {"people": LABELS - 1}).masks()
    assert masks["people"]["mask_data"][0, 0] == VOID
    assert masks["people"]["mask_data"][0, 1] == 0


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match=r"a\.npz is damaged"):
        Layers.read(tmp_path / "a.npz")
