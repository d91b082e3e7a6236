"""The one list of what a backbone is."""

import inspect
import json
from dataclasses import fields

import pytest

from cast_exp import create_model, load_pretrained
from cast_exp.errors import UserError
from cast_exp.models import ModelConfig, ModelOptions
from cast_exp.models.config import VariableOptions, ViTOptions, names_of

OTHER = ModelConfig(
    *(24, (1, 2), 3, "tome", True, "interpolated", 64, 0.1, False, True, "learned", 5, True),
    *(14, False, 4, "mean", 64, True, True, False, True),
)


def test_every_option_survives_json() -> None:
    assert ModelConfig.from_dict(json.loads(json.dumps(OTHER.to_dict()))) == OTHER
    plain = ModelConfig(384, (3, 3, 3, 2))
    options = [*names_of(ModelOptions), *names_of(ViTOptions)]
    same = [name for name in options if getattr(OTHER, name) == getattr(plain, name)]
    assert not same  # so that an option that is lost would show


def test_files_of_other_versions_are_told() -> None:
    with pytest.raises(UserError, match=r"unknown entries \(novelty\)"):
        ModelConfig.from_dict(OTHER.to_dict() | {"novelty": 1})
    with pytest.raises(UserError, match=r"lacks depths, heads"):
        ModelConfig.from_dict({"dim": 24, "family": "cast"})


def test_signatures_name_the_options() -> None:
    built = inspect.signature(create_model).parameters
    loaded = inspect.signature(load_pretrained).parameters
    for option in fields(ModelOptions):
        assert built[option.name].default == option.default
    for option in fields(VariableOptions):
        assert loaded[option.name].default is None
    assert "levels" not in built
    assert "positions" not in loaded
    assert not [p for p in (*built.values(), *loaded.values()) if p.kind is p.VAR_KEYWORD]


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"create_model\(\): .*unexpected keyword argument 'fusoin'"
    ):
        create_model("cast_tiny", fusoin=True)
    with pytest.raises(TypeError, match=r"load_pretrained\(\): .*'positions'"):
        load_pretrained("anything", positions="learned")


def test_blocks_drop_paths_in_training_only() -> None:
    config = ModelConfig(24, (2,), 3)
    assert [type(config.block(rate).drop_path1).__name__ for rate in (0.0, 0.5)] == [
        "Identity",
        "DropPath",
    ]
