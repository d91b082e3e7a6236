import inspect
from typing import get_type_hints

from cast_exp.config import Builds
from cast_exp.eval import evaluate_model
from cast_exp.train import train


def test_every_part_that_an_entry_point_builds_has_its_kind() -> None:
    kinds = {}
    for entry in (train, evaluate_model):
        hints = get_type_hints(entry, include_extras=True)
        for name in inspect.signature(entry).parameters:
            found = str(hints[name])
            if Builds.__name__ in found:
                kinds[name] = found.rpartition("Builds(kind=<class '")[2].partition("'")[0]
    assert {name: kind.rpartition(".")[2] for name, kind in kinds.items()} == {
        "data": "RawDataModule",
        "task": "BaseTask",
        "trainer": "Trainer",
        "callbacks": "Callback",
        "logger": "Logger",
        "evaluation": "BaseEvaluation",
        "model": "Backbone",
    }
