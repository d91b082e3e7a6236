"""How mistakes are worded."""

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cast_exp.config.messages import gist, key_of, listed, nearest


def test_what_omegaconf_wraps_around_an_error_is_left_out() -> None:
    def fails() -> None:
        raise ValueError("no such thing\nand more")

    OmegaConf.register_new_resolver("fails", fails, replace=True)
    with pytest.raises(OmegaConfBaseException) as caught:
        OmegaConf.create({"key": "${fails:}"}).key  # noqa: B018
    assert gist(caught.value) == "no such thing"
    assert gist(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        ("graf", ["kmeans", "graph"], "did you mean graph?"),
        ("cast", ["cast_a", "cast_b"], "did you mean cast_b or cast_a?"),
        ("xyz", ["kmeans", "graph"], "options are kmeans, graph"),
        ("xyz", [], "there are none"),
    ],
)
def test_the_nearest_names(name: str, names: list[str], hint: str) -> None:
    found = nearest(name, names)
    if " or " in hint:
        assert sorted(found[13:-1].split(" or ")) == sorted(hint[13:-1].split(" or "))
    else:
        assert found == hint


@pytest.mark.parametrize(
    ("override", "key"),
    [("a.b=1", "a.b"), ("+a=b=c", "a"), ("++a=1", "a"), ("~group", "group"), ("a@b=c", "a@b")],
)
def test_the_key_of_an_override(override: str, key: str) -> None:
    assert key_of(override) == key


def test_all_mistakes_make_one_message() -> None:
    assert listed(["one"]) == "mistake in the command or config:\n  one"
    assert listed(iter("ab")) == "2 mistakes in the command or config:\n  a\n  b"
