"""What every backbone has, and its config in plain values."""

import json
from functools import partial
from typing import Any

import pytest
import torch

from cast_exp.errors import UserError
from cast_exp.models import Pooling, create_model
from cast_exp.models.backbone import ModelConfig
from cast_exp.models.grouping import KMedoids


def test_a_look_is_like_a_true_one_and_leaves_the_backbone_alone() -> None:
    pooling = Pooling((12, 8, 4, 2), partial(KMedoids, seeding="random"))
    backbone = create_model("cast_tiny", pooling=pooling).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    generator = torch.get_rng_state()
    hierarchy = backbone.look(levels=(6, 3))
    assert torch.equal(torch.get_rng_state(), generator)
    assert [level.tokens.shape[1] for level in hierarchy.levels] == [16, 6, 3]
    assert backbone.training
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_the_size_of_patches() -> None:
    assert create_model("vit_tiny").patch_size == 16
    assert create_model("cast_tiny").patch_size == create_model("tome_tiny").patch_size == 0


def test_a_config_survives_json() -> None:
    config = create_model("cast_tiny", pooling=Pooling((12, 6, 3)), fusion=True).config
    again = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.levels == (12, 6, 3)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"wings": 2}, r"unknown entries \(wings\).*newer version"),
        ({"dim": None, "heads": None}, "lacks dim, heads"),
    ],
)
def test_a_config_of_another_version(changes: dict[str, Any], complaint: str) -> None:
    values = create_model("vit_tiny").config.to_dict() | changes
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(UserError, match=complaint):
        ModelConfig.from_dict(values)
