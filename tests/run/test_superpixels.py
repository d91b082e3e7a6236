"""Superpixel methods by the names of their configs."""

from pathlib import Path

import pytest
from support.run_folders import run_folder

from cast_exp.errors import UserError
from cast_exp.run.superpixels import load_methods, usual_count
from cast_exp.superpixels import Grid, Seeds


def test_methods_are_built_from_their_configs() -> None:
    methods = load_methods(["seeds_dense", "grid"], 64)
    assert [type(method) for method in methods.values()] == [Seeds, Grid]
    assert [method.count for method in methods.values()] == [64, 64]
    assert load_methods(["seeds_dense"], None)["seeds_dense"].count == 1024


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match=r"no superpixel method 'slick'; did you mean .*slic"):
        load_methods(["slick"], None)
    with pytest.raises(UserError, match="at least 10 superpixels, not 3"):
        load_methods(["seeds"], 3)


@pytest.mark.parametrize(
    ("data", "count", "expected"),
    [
        ({"image_size": 224}, 196, 1024),
        ({"image_size": 64}, 36, 2304),
        ({"image_size": 32}, 64, 4096),  # not 16384, of 4 x 4 pixels
        ({"image_size": 96, "crop": 64}, 64, 4096),  # crops are what is trained on
        ({"image_size": 64}, None, 1024),  # a method of one's own, without a count
    ],
)
def test_pictures_get_superpixels_as_dense_as_in_the_run(
    data: dict[str, int], count: int | None, expected: int, tmp_path: Path
) -> None:
    run = run_folder(tmp_path / "run", config={"data": data, "superpixel": {"count": count}})
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").touch()
    for checkpoint in (str(run), str(run / "checkpoints" / "last.ckpt")):
        assert usual_count(checkpoint, 512) == expected
    for checkpoint in (str(tmp_path), "cast_small_in1k_moco", None):
        assert [usual_count(checkpoint, size) for size in (512, 224, 3)] == [1024, 196, 1]
