"""What config files may call."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cast_exp.run.folder import run_folder
from cast_exp.run.resolvers import register_resolvers


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    run_folder.cache_clear()
    register_resolvers()
    register_resolvers()
    yield
    run_folder.cache_clear()


def test_rates_are_scaled_by_the_effective_batch() -> None:
    config = OmegaConf.create({"batch": 512, "lr": "${scaled_lr:0.1,${batch},2,256}"})
    assert config.lr == pytest.approx(0.1 * 512 * 2 / 256)


def test_a_job_has_a_name_that_file_systems_take() -> None:
    config = OmegaConf.create({"name": "${job_folder:3,'pooling=graph,path=/a b'}"})
    assert config.name == "3_pooling-graph_path-a-b"


def test_a_run_has_one_folder_however_often_it_is_asked_for(tmp_path: Path) -> None:
    config = OmegaConf.create({"runs": str(tmp_path), "at": "${run_folder:${runs},mine,null}"})
    assert config.at == config.at
    assert Path(config.at).parent == tmp_path / "mine"
