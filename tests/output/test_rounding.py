import pytest

from cast_exp.output.rounding import rounded, rounded_overrides


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0.0000"),
        (0.6, "0.6000"),
        (-2.71828, "-2.7183"),
        (0.00015, "0.00015"),
        (1.23456e-05, "1.235e-05"),
        (0.01234567, "0.01235"),
        (61.5, "61.5000"),
        (612.34, "612.3"),
        (51234.6, "51235"),
        (3e9, "3e+09"),
    ],
)
def test_no_number_is_shown_as_nothing(value: float, expected: str) -> None:
    assert rounded(value) == expected


def test_only_long_numbers_of_overrides_are_shortened() -> None:
    given = "optim.base_lr=0.00031622776601683794,a=1.2345678901234567e-05,b=0.25,seed=12345678"
    assert rounded_overrides("0.00031622776601683794") == "0.0003162"
    given += ",data.root=x/0.123456789/y"
    assert rounded_overrides(given) == (
        "optim.base_lr=0.0003162,a=1.235e-05,b=0.25,seed=12345678,data.root=x/0.123456789/y"
    )
