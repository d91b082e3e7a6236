"""Whether there is an average where one is asked for."""

from typing import Any

import pytest

from cast_exp.errors import UserError
from cast_exp.run.average import check_loaded, weights_at_end

LOADED = {"_target_": "cast_exp.checkpoints.load_pretrained", "weights": "average"}
NEW = {"_target_": "cast_exp.models.create_model"}


@pytest.mark.parametrize("model", [None, NEW, LOADED])
def test_trained_weights_are_always_there(model: dict[str, Any] | None) -> None:
    check_loaded("trained", model)
    for averages in (False, True):
        assert weights_at_end("trained", model, averages, evaluates=True) == "trained"


def test_only_a_loaded_model_has_an_average_to_evaluate() -> None:
    check_loaded("average", LOADED)
    for model in (None, NEW):
        with pytest.raises(UserError, match="not loaded from one; set checkpoint="):
            check_loaded("average", model)


def test_an_average_is_taken_wherever_there_is_one() -> None:
    assert weights_at_end("average", NEW, averages=True, evaluates=True) == "average"
    assert weights_at_end("average", LOADED, averages=True, evaluates=True) == "average"
    for averages, evaluates in ((False, True), (False, False), (True, False)):
        assert weights_at_end("average", LOADED, averages, evaluates) == "trained"
    with pytest.raises(UserError, match="this training keeps none; set checkpoint="):
        weights_at_end("average", NEW, averages=False, evaluates=True)
    with pytest.raises(UserError, match=r"nothing is evaluated at the end; set evaluate=\[...\]"):
        weights_at_end("average", None, averages=True, evaluates=False)
