from types import SimpleNamespace
from typing import Any, cast

import pytest

from cast_exp.callbacks.objective_check import ObjectiveCheck
from cast_exp.errors import UserError


def test_only_the_first_epoch_is_looked_at() -> None:
    trainer = cast(Any, SimpleNamespace(callback_metrics={"train/loss": 1.0}))
    with pytest.raises(UserError, match=r"objective=train/los: .*did you mean train/loss"):
        ObjectiveCheck("train/los").on_train_epoch_end(trainer, cast(Any, None))
    check = ObjectiveCheck("train/loss")
    check.on_train_epoch_end(trainer, cast(Any, None))
    trainer.callback_metrics = {}
    check.on_train_epoch_end(trainer, cast(Any, None))
