from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
from support.toys import Bell, BigWheel, Rider, Wheel, build_anything, build_wheel
from torch.optim import SGD, Optimizer

from cast_exp.config.kinds import Builds, element, wrong_kind


def write() -> None:
    """Makes nothing."""


def name() -> Path:
    """Makes a path."""
    return Path()


GOOD = [
    (Wheel, False, Wheel),
    (BigWheel, False, Wheel | None),
    (build_wheel, False, Annotated[Wheel, "a note"]),
    (BigWheel, False, Annotated[Any, Builds(Wheel)]),
    (Bell, False, Any),
    (build_wheel, False, Any),
    (Bell, False, Rider),
    (SGD, True, Callable[..., Optimizer]),
    (build_wheel, True, Callable[..., Wheel] | None),
    (Bell, True, Callable[..., Any]),
    (build_wheel, True, Any),
]
BAD = [
    (Bell, False, Wheel, "makes a Bell; here should be a Wheel"),
    (Bell, False, Annotated[Any, Builds(Wheel)], "makes a Bell; here should be a Wheel"),
    (Wheel, False, BigWheel, "makes a Wheel; here should be a BigWheel"),
    (Wheel, False, int | str, "makes a Wheel; here should be a int or str"),
    (build_anything, False, Wheel, "does not say what it returns; here should be a Wheel"),
    (build_anything, False, Any, "is a function that makes nothing, or does not say what"),
    (write, False, Any, "is a function that makes nothing, or does not say what"),
    (write, True, Callable[..., Wheel], "makes a NoneType; here should be a Wheel"),
    (name, False, Wheel, "makes a Path; here should be a Wheel"),
    (Bell, True, Callable[..., Optimizer], "makes a Bell; here should be a Optimizer"),
]


@pytest.mark.parametrize(("target", "later", "expected"), GOOD)
def test_right_kinds(target: Any, later: bool, expected: Any) -> None:
    assert wrong_kind(target, later, expected) is None


@pytest.mark.parametrize(("target", "later", "expected", "problem"), BAD)
def test_wrong_kinds(target: Any, later: bool, expected: Any, problem: str) -> None:
    found = wrong_kind(target, later, expected)
    assert found is not None
    assert found.startswith(problem)


def test_what_is_inside() -> None:
    check = partial(wrong_kind, Bell, False)
    for whole in (Sequence[Bell], list[Bell] | None, tuple[Bell, ...], Mapping[str, Bell]):
        assert check(element(whole)) is None, whole
    for whole in (Sequence[Wheel], dict[str, Annotated[Any, Builds(Wheel)]], list[Wheel] | None):
        assert check(element(whole)), whole
    assert check(element(tuple[Wheel, Bell], 1)) is None
    assert check(element(tuple[Wheel, Bell], 0))
    assert check(element(Any)) is None
