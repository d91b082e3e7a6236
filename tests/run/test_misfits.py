"""Choices that do not go together, in words."""

import pytest
from omegaconf import OmegaConf

from cast_exp.errors import UserError
from cast_exp.eval import evaluate_model
from cast_exp.run.misfits import wrong_evaluations
from cast_exp.run.preflight import checked_command
from cast_exp.run.resolvers import register_resolvers
from cast_exp.train import train


@pytest.mark.parametrize(
    ("asked", "some", "complaint"),
    [
        (["knn"], True, None),
        ([], False, None),
        ([], True, "nothing to evaluate; set evaluate to some of [knn, retrieval]"),
        ("knn", True, "evaluate=knn: should be a list, as in evaluate=[knn]"),
        (["knn", "probe"], False, "evaluate=[knn,probe]: probe is none of knn, retrieval"),
    ],
)
def test_names_of_evaluations(asked: object, some: bool, complaint: str | None) -> None:
    known = {"knn": {"neighbours": 20}, "retrieval": None}
    config = OmegaConf.create({"evaluate": asked, "evaluation": known})
    assert wrong_evaluations(config, some) == ([] if complaint is None else [complaint])


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (("experiment=shapes_moco", "data=voc"), r"task=moco needs .*, data=voc has scenes"),
        (
            ("experiment=voc_finetune", "evaluate=[knn]"),
            r"evaluate=\[knn\] needs whole images.*choose one of data=\w+,",
        ),
    ],
)
def test_data_that_a_task_or_an_evaluation_cannot_work_on(
    overrides: tuple[str, ...], complaint: str
) -> None:
    register_resolvers()
    with pytest.raises(UserError, match=complaint):
        checked_command(overrides, "train", train)


@pytest.mark.parametrize(
    ("overrides", "evaluated"),
    [
        (("experiment=shapes_supervised",), "evaluate=[classification]"),
        (("experiment=shapes_finetune",), "evaluate=[segmentation]"),
        (("experiment=shapes_supervised", "evaluate=[knn]"), "evaluate=[knn]"),
    ],
)
def test_what_an_experiment_trains_is_evaluated_unless_something_is_named(
    overrides: tuple[str, ...], evaluated: str
) -> None:
    register_resolvers()
    found = checked_command([*overrides, "model=cast_tiny"], "eval", evaluate_model)
    assert [text for text in found if text.startswith("evaluate=")] == [evaluated]
