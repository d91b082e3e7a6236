"""Dense evaluations read the feature grid in their own way, however the model was pretrained."""

from copy import deepcopy
from dataclasses import replace

import pytest
from support.evaluations import evaluation, subject
from support.trainers import evaluate

DEFAULTS = {"retrieval": "interpolated", "figure_ground": "interpolated", "hierarchy": None}


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_evaluation_may_interpolate_and_leaves_the_model_alone(name, tmp_path):
    dense = subject(name)  # a model for interpolation
    nearest = replace(dense, backbone=deepcopy(dense.backbone))
    nearest.backbone.tokens.sampling = "nearest"
    interpolated, as_trained = evaluation(name), evaluation(name)
    assert interpolated.sampling == DEFAULTS[name]
    interpolated.sampling, as_trained.sampling = "interpolated", None
    figures = pytest.approx(evaluate(as_trained, dense, tmp_path / "dense"), nan_ok=True)
    assert evaluate(interpolated, nearest, tmp_path / "nearest") == figures
    assert nearest.backbone.tokens.sampling == "nearest"
    assert evaluate(as_trained, nearest, tmp_path / "trained") != figures
