"""Label maps out of SBD's MATLAB files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cast_exp.data.datasets.sbd import write_labels
from cast_exp.errors import UserError

NAMES = {"2009_02", "2010_01"}


def labels(name: str) -> np.ndarray:
    return np.random.default_rng(int(name[-1])).integers(0, 21, (5, 7), dtype=np.uint8)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    savemat = pytest.importorskip("scipy.io").savemat
    (tmp_path / "cls").mkdir()
    for name in NAMES:
        truth = {"Segmentation": labels(name), "CategoriesPresent": np.unique(labels(name))}
        savemat(tmp_path / "cls" / f"{name}.mat", {"GTcls": truth})
    return tmp_path


def test_label_maps_are_written_once_and_go_on(dataset: Path) -> None:
    assert write_labels(dataset) == NAMES
    folder = dataset / "SegmentationClass"
    assert {file.name for file in folder.iterdir()} == {f"{name}.png" for name in NAMES}
    for name in NAMES:
        with Image.open(folder / f"{name}.png") as drawn:
            assert drawn.mode == "L"
            assert np.array_equal(np.asarray(drawn), labels(name))
    kept, gone = folder / "2009_02.png", folder / "2010_01.png"
    before, content = kept.stat().st_mtime_ns, gone.read_bytes()
    gone.unlink()
    assert write_labels(dataset) == NAMES
    assert kept.stat().st_mtime_ns == before
    assert gone.read_bytes() == content


def test_what_cannot_be_done(dataset: Path) -> None:
    with pytest.raises(UserError, match=r"no \*\.mat in .*nowhere"):
        write_labels(dataset / "nowhere")
    (dataset / "SegmentationClass").touch()
    with pytest.raises(UserError, match=r"cannot write label maps to .*let the first run do so"):
        write_labels(dataset)
    (dataset / "SegmentationClass").unlink()
    (dataset / "cls" / "2009_02.mat").write_text("no MATLAB")
    with pytest.raises(UserError, match=r"2009_02\.mat is not a file of SBD or is damaged"):
        write_labels(dataset)
