from collections.abc import Iterator

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from cast_exp.config import conf_dir
from cast_exp.run.job_type import job_type, run_tags


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


def composing(name: str = "train", parent: str = "x", **choices: str | None) -> None:
    """As if Hydra were composing that."""
    runtime = {"choices": choices, "output_dir": f"runs/{parent}/0"}
    node = {"job": {"name": name}, "runtime": runtime, "mode": "RUN", "sweep": {"dir": "sweeps"}}
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": node})


@pytest.mark.parametrize(
    ("task", "checkpoint", "expected"),
    [
        ("moco", None, "pretrain"),
        ("linear_probe", "a.ckpt", "probe"),
        ("classification", None, "pretrain"),
        ("classification", "a.ckpt", "finetune"),
        ("segmentation", "a.ckpt", "finetune"),
        ("segmenter", "a.ckpt", "finetune"),
        ("mine", "a.ckpt", "train"),
    ],
)
def test_the_task_says_what_a_job_is(task: str, checkpoint: str | None, expected: str) -> None:
    composing(task=task)
    assert job_type(checkpoint) == expected


def test_all_our_tasks_have_a_kind() -> None:
    ours = {path.stem for path in (conf_dir() / "task").glob("*.yaml")} - {"none"}
    for task in ours:
        composing(task=task)
        assert job_type("a.ckpt") != "train"


def test_an_evaluation_is_one_whatever_it_evaluates() -> None:
    composing("eval", task="moco")
    assert job_type("a.ckpt") == "eval"


def test_runs_are_found_by_recipe_model_and_pooling() -> None:
    composing(experiment="shapes_moco", model="tiny", pooling="kmeans", debug="fast", data="x")
    assert run_tags() == ["shapes_moco", "tiny", "kmeans", "fast"]
    composing(parent="search-1", experiment="shapes_moco", debug=None)
    assert run_tags() == ["shapes_moco", "sweep"]
