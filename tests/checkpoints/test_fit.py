"""State dicts beside what they are for."""

import logging

import pytest
import torch
from torch import nn

from cast_exp.checkpoints.fit import build_to_fit, require_fit, shapes_of
from cast_exp.errors import UserError

STATE = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}


def test_shapes_take_no_memory() -> None:
    shapes = shapes_of(lambda: nn.Linear(10**6, 10**6))
    assert shapes["weight"].shape == (10**6, 10**6)
    assert shapes["weight"].is_meta


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": STATE["weight"]}, "1 missing: bias"),
        (STATE | {"gain": torch.ones(1)}, "1 unexpected: gain"),
        (STATE | {"bias": torch.ones(3)}, r"1 of another shape: bias \(3,\) for \(2,\)"),
        (STATE | {"bias": torch.ones(2, dtype=torch.int64)}, "1 of another type: bias torch.int64"),
    ],
)
def test_what_does_not_fit_is_never_built(state: dict[str, torch.Tensor], message: str) -> None:
    built = []

    def build() -> nn.Module:
        built.append(nn.Linear(3, 2))
        return built[-1]

    with pytest.raises(UserError, match=f"does not fit the model: {message}"):
        build_to_fit(build, state)
    assert all(module.weight.is_meta for module in built)


def test_what_fits_is_loaded(caplog: pytest.LogCaptureFixture) -> None:
    half = {name: value.half() for name, value in STATE.items()}
    module = build_to_fit(lambda: nn.Linear(3, 2), half)
    assert torch.equal(module.weight, STATE["weight"])
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        build_to_fit(lambda: nn.Linear(3, 2), STATE | {"bias": torch.tensor([1.0, torch.nan])})
    assert caplog.messages[-1].endswith("(NaN, infinity): bias")


def test_a_counter_may_be_an_average() -> None:
    require_fit({"steps": torch.ones((), dtype=torch.int64)}, {"steps": torch.ones(())})


@pytest.mark.parametrize("width", [2**40, 10**30])
def test_shapes_beyond_all_bounds(width: int) -> None:
    with pytest.raises(UserError, match="tells of a model that cannot be built"):
        shapes_of(lambda: nn.Linear(width, width))
