"""Triton is of use with a C compiler only."""

import pytest

from cast_exp.ops import triton_there as module


@pytest.mark.parametrize(
    ("triton", "compilers", "there"),
    [
        (True, {"clang"}, True),
        (True, {"my-cc"}, True),
        (True, set(), False),
        (False, {"gcc"}, False),
    ],
)
def test_both_are_needed(
    monkeypatch: pytest.MonkeyPatch, triton: bool, compilers: set[str], there: bool
) -> None:
    monkeypatch.setenv("CC", "my-cc")
    monkeypatch.setattr(module, "find_spec", lambda name: name if triton else None)
    monkeypatch.setattr(module, "which", lambda name: name if name in compilers else None)
    assert module.triton_there.__wrapped__() is there
