"""Mistakes in any job of a command are found before it begins."""

import pytest

from cast_exp.errors import UserError
from cast_exp.run.preflight import checked_command
from cast_exp.train import train

QUICK = ["experiment=shapes_moco", "debug=fast"]


def test_a_mistake_in_one_job_is_told_with_that_job() -> None:
    command = ["-m", *QUICK, "seed=0,1", "data.batch_size=8,-1"]
    with pytest.raises(UserError, match=r"with .*data.batch_size=-1\)") as caught:
        checked_command(command, "train", train)
    assert "batch_size=8" not in str(caught.value)


def test_data_given_in_place_are_looked_at() -> None:
    given = "evaluation.knn.images={_target_:cast_exp.data.ImageDataModule}"
    with pytest.raises(UserError, match=r"evaluation.knn.images.dataset: required"):
        checked_command([*QUICK, "evaluate=[knn]", given], "train", train)


def test_a_wrong_name_of_a_model_is_told_with_all_names() -> None:
    with pytest.raises(UserError, match=r"model.name=cast_smal: should be 'cast_tiny', 'cast_sm"):
        checked_command([*QUICK, "model.name=cast_smal"], "train", train)


def test_wrong_values_of_any_kind_are_told_together() -> None:
    wrong = {
        "seed=${seed}": "seed: refers to itself",
        "optim.base_lr=nan": "optim.base_lr=nan: should be a finite number",
        "optim.optimizer.weight_decay=-1": "should be greater than or equal to 0",
        "trainer.max_epochs=-5": "should be greater than or equal to -1",
        "trainer.log_every_n_steps=-1": "should be greater than or equal to 0",
        "callbacks.recent.every_n_train_steps=-1": "should be greater than or equal to 0",
        "callbacks.progress=5": "should be null or a node with a _target_ that makes a Callback",
        "data.dataset.area=[0.3,0.2]": "the second number should not be below the first",
        "data.value_range=[1,0]": "the second number should not be below the first",
        "augmentation.crop_scale=[1,0.1]": "the second number should not be below the first",
        "augmentation.blur_sigma=[0.1,inf]": "augmentation.blur_sigma.1=inf: should be a finite",
        "paths.runs=5": "should be a valid string",
        f"name={300 * 'x'}": "should have at most 200 characters",
    }
    with pytest.raises(UserError) as caught:
        checked_command([*QUICK, *wrong], "train", train)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{len(wrong)} mistakes in the command or config:"
    assert all(any(told in line for line in lines) for told in wrong.values())


@pytest.mark.parametrize("asked", ["[5]", "[null]", "null"])
def test_a_name_of_an_evaluation_may_be_no_name(asked: str) -> None:
    with pytest.raises(UserError, match=r"is none of knn|should be a list, as in evaluate=\[knn\]"):
        checked_command([*QUICK, f"evaluate={asked}"], "train", train)
