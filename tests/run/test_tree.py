"""The config files as Hydra finds them."""

from pathlib import Path

import pytest

from cast_exp.config import options
from cast_exp.errors import UserError
from cast_exp.run.tree import compose, config_tree


def test_a_folder_of_the_user_adds_options_and_replaces_none(tmp_path: Path) -> None:
    (tmp_path / "superpixel").mkdir()
    (tmp_path / "superpixel" / "mine.yaml").write_text("count: 7\n")
    (tmp_path / "superpixel" / "grid.yaml").write_text("count: 8\n")
    with config_tree():
        known = options("superpixel")
        count = compose("superpixel/grid").superpixel.count
    with config_tree(extra=tmp_path):
        assert options("superpixel") == sorted([*known, "mine"])
        assert compose("superpixel/mine").superpixel.count == 7
        assert compose("superpixel/grid").superpixel.count == count != 8
    with config_tree():
        assert options("superpixel") == known


def test_another_folder_of_configs(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("a: 1\n")
    with config_tree(tmp_path):
        assert compose("own", ["a=2"]).a == 2


def test_all_mistakes_are_told() -> None:
    with config_tree(), pytest.raises(UserError, match="2 mistakes") as caught:
        compose("train", ["experiment=shapes_moc", "sed=1"])
    assert "shapes_moco" in str(caught.value)
    assert "did you mean seed" in str(caught.value)
