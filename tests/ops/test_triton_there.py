"""Triton is of use with a C compiler only."""

import pytest

from cast_exp.errors import UserError
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


@pytest.mark.parametrize(("wanted", "there"), [(None, True), ("1", True), ("0", False)])
def test_kernels_can_be_turned_off(
    monkeypatch: pytest.MonkeyPatch, wanted: str | None, there: bool
) -> None:
    monkeypatch.delenv("CAST_EXP_KERNELS", raising=False)
    if wanted is not None:
        monkeypatch.setenv("CAST_EXP_KERNELS", wanted)
    monkeypatch.setattr(module, "triton_there", lambda: True)
    assert module.kernels_there.__wrapped__() is there


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAST_EXP_KERNELS", "off")
    with pytest.raises(UserError, match="CAST_EXP_KERNELS=off; set it to 0 or 1"):
        module.kernels_there.__wrapped__()
