"""The superpixels of dense evaluations are those of the run, in the number of the scenes."""

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from support.cli import SMALL, cast_train, runs

from cast_exp.run import app
from cast_exp.run.resolvers import register_resolvers

RETRIEVAL = (*(text for text in SMALL if not text.startswith("superpixel")), "evaluate=[retrieval]")


@pytest.fixture(autouse=True)
def no_job_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, "_run_apart", lambda module, folder: 0)
    register_resolvers()


def scenes(*overrides: str) -> list[DictConfig]:
    """The superpixels of the scenes in each job of a multirun, as saved for it."""
    assert cast_train("-m", *RETRIEVAL, *overrides) == 0
    saved = sorted(runs(), key=lambda run: int(run.name.partition("_")[0]))
    return [OmegaConf.load(run / "config.yaml").scenes.superpixel for run in saved]


@pytest.mark.slow
def test_each_row_of_a_sweep_is_evaluated_on_its_own_method(tmp_path: Path) -> None:
    mine = tmp_path / "conf" / "superpixel" / "coarse_grid.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("_target_: cast_exp.superpixels.Grid\ncount: 25\n")
    found = scenes(
        "superpixel=seeds,seeds_small,fast_slic,slic,grid,coarse_grid",
        f"--config-dir={mine.parents[1]}",
    )
    assert [node._target_.rpartition(".")[2] for node in found] == [
        *("Seeds", "Seeds", "FastSlic", "Slic", "Grid", "Grid")
    ]
    assert {node.count for node in found} == {64}  # that of data/shapes_scenes.yaml
    assert found[0].histogram_bins == 5  # as the official release has it for dense prediction
    assert found[1].iterations == 4
    for run in runs():
        config = OmegaConf.load(run / "config.yaml")
        assert config.evaluation.retrieval.scenes.superpixel == config.scenes.superpixel
        assert config.data.superpixel == config.superpixel


@pytest.mark.slow
def test_so_are_parameters_that_are_swept_or_changed() -> None:
    found = scenes("superpixel=slic", "superpixel.compactness=5,20", "superpixel.iterations=3")
    assert [node.compactness for node in found] == [5, 20]
    assert [node.iterations for node in found] == [3, 3]
    assert [node.count for node in found] == [64, 64]


def test_a_recipe_of_the_user_may_change_them_as_well(tmp_path: Path) -> None:
    mine = tmp_path / "conf" / "experiment" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(
        "# @package _global_\ndefaults: [shapes_moco, override /superpixel: slic, _self_]\n"
        "superpixel: {compactness: 3.0}\n"
    )
    (found,) = scenes(f"--config-dir={mine.parents[1]}", "experiment=mine")
    assert (found._target_.rpartition(".")[2], found.compactness) == ("Slic", 3.0)


def test_unless_the_user_names_others() -> None:
    found = scenes(
        "superpixel=slic", "superpixel.compactness=5", "superpixel@scenes.superpixel=grid,seeds"
    )
    assert [node._target_.rpartition(".")[2] for node in found] == ["Grid", "Seeds"]
    assert "compactness" not in found[0]


def test_or_another_number_or_value() -> None:
    found = scenes("superpixel=slic,grid", "scenes.superpixel.count=30")
    assert [node.count for node in found] == [30, 30]
