"""Dense evaluations read the feature grid in their own way, however the model was pretrained."""

from copy import deepcopy
from dataclasses import replace

import pytest
from support.evaluations import evaluation, subject
from support.trainers import evaluate


@pytest.mark.parametrize("name", ["retrieval", "figure_ground", "hierarchy"])
def test_interpolation_is_the_default_and_leaves_the_model_alone(name, tmp_path):
    dense = subject(name)  # a model for interpolation
    nearest = replace(dense, backbone=deepcopy(dense.backbone))
    nearest.backbone.tokens.sampling = "nearest"
    figures = evaluate(evaluation(name), dense, tmp_path / "dense")
    assert evaluate(evaluation(name), nearest, tmp_path / "nearest") == pytest.approx(
        figures, nan_ok=True
    )
    assert nearest.backbone.tokens.sampling == "nearest"
    as_trained = evaluation(name)
    as_trained.sampling = None
    assert evaluate(as_trained, nearest, tmp_path / "trained") != pytest.approx(
        figures, nan_ok=True
    )
