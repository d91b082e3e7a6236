"""Building what a config names."""

import pytest
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from support.toys import Wheel

from cast_exp.errors import UserError
from cast_exp.run.build import build

GRAPH = {"_target_": "cast_exp.models.grouping.GraphPool", "_partial_": True, "dropout": 0.3}


def test_what_is_inside_is_built_and_parts_are_handed_on() -> None:
    node = {
        "_target_": "cast_exp.models.Pooling",
        "levels": [6, 3],
        "grouping": GRAPH,
    }
    pooling = build(node)
    assert pooling.levels == (6, 3)
    assert pooling.grouping.keywords == {"dropout": 0.3}
    wheel = Wheel(3)
    assert build({"_target_": "support.toys.Bicycle"}, wheel=wheel).wheel is wheel


def test_a_message_for_the_user_is_not_wrapped() -> None:
    pooling = {"_target_": "cast_exp.models.Pooling", "levels": [3, 6]}
    deep = {"_target_": "cast_exp.models.create_model", "name": "cast_tiny", "pooling": pooling}
    for node in (pooling, deep):
        with pytest.raises(UserError, match=r"^pooling\.levels=\[3, 6\]: every level must"):
            build(node)
    with pytest.raises(InstantiationException, match="boom"):
        build({"_target_": "support.toys.explode"})


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "x ${oc.create:{_target_:os.system}}"])
def test_nothing_is_resolved_a_second_time(text: str) -> None:
    with pytest.raises(UserError, match="references cannot be nested or escaped"):
        build({"_target_": "support.toys.Bicycle", "wheel": [{"names": text}]})
    config = OmegaConf.create({"name": "red", "bike": {"_target_": "support.toys.Bicycle"}})
    config.bike.update({"wheel": 3, "colour": "${name}"})
    assert build(config.bike).wheel == 3
