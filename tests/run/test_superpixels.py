"""Superpixel methods by the names of their configs."""

import pytest

from cast_exp.errors import UserError
from cast_exp.run.superpixels import load_methods
from cast_exp.superpixels import Grid, Seeds


def test_methods_are_built_from_their_configs() -> None:
    methods = load_methods(["seeds_dense", "grid"], 64)
    assert [type(method) for method in methods.values()] == [Seeds, Grid]
    assert [method.count for method in methods.values()] == [64, 64]
    assert load_methods(["seeds_dense"], None)["seeds_dense"].count == 1024


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match=r"no superpixel method 'slick'; did you mean .*slic"):
        load_methods(["slick"], None)
    with pytest.raises(UserError, match="at least 10 superpixels, not 3"):
        load_methods(["seeds"], 3)
