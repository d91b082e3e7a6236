"""Label maps out of MATLAB files of any data set; see test_sbd.py for one of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cast_exp.data.datasets.mat_labels import write_maps
from cast_exp.errors import UserError


def test_maps_are_written_and_what_is_no_map_is_told(tmp_path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    for number in range(2):
        savemat(tmp_path / f"{number}.mat", {"drawn": np.full((2, 3), number)})
    files = [tmp_path / "0.mat", tmp_path / "1.mat"]
    write_maps(files, tmp_path / "maps", lambda held: held["drawn"] + 7, "Toys")
    for number, file in enumerate(files):
        with Image.open(tmp_path / "maps" / f"{file.stem}.png") as drawn:
            assert np.array_equal(np.asarray(drawn), np.full((2, 3), number + 7))
    with pytest.raises(UserError, match=r"0\.mat is not a file of Toys or is damaged"):
        write_maps(files[:1], tmp_path / "others", lambda held: held["painted"], "Toys")
