"""Compares weights with what they are for, before anything is allocated for them."""

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from cast_exp.errors import UserError, listing

log = logging.getLogger(__name__)

M = TypeVar("M", bound=nn.Module)


def shapes_of(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """State dict of a module with shapes and types, but without values or memory for them.

    Raises:
        UserError: Raised by `build`, or the shapes are beyond what torch can count.
    """
    try:
        with torch.device("meta"):
            return build().state_dict()
    except (RuntimeError, TypeError, OverflowError) as error:
        reason = listing(str(error).splitlines()[:1])
        raise UserError(
            f"the checkpoint tells of a model that cannot be built: {reason}"
        ) from error


def build_to_fit(build: Callable[[], M], state: Mapping[str, Tensor]) -> M:
    """Build a module if a state dict fits it, and load that.

    Raises:
        UserError: See `require_fit`.
    """
    require_fit(shapes_of(build), state)
    module = build()
    load_strictly(module, state)
    return module


def load_strictly(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict; every name and shape must agree. Values that are not finite are told.

    Raises:
        UserError: See `require_fit`.
    """
    require_fit(module.state_dict(), state)
    module.load_state_dict(dict(state))
    odd = [
        name
        for name, value in module.state_dict().items()
        if value.is_floating_point() and not value.isfinite().all()
    ]
    if odd:
        log.warning("weights with values that are not finite (NaN, infinity): %s", listing(odd))


def require_fit(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Make sure that a state dict is that of a module.

    Raises:
        UserError: Lists how they differ; see `differences`.
    """
    if found := differences(own, state):
        kinds = [f"{len(names)} {kind}: {listing(names)}" for kind, names in found.items()]
        raise UserError(f"the checkpoint does not fit the model: {'; '.join(kinds)}")


def differences(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], wording: str = "{} {} for {}"
) -> dict[str, list[str]]:
    """Names in a state dict that are missing, unexpected, of another shape or no such numbers.

    Args:
        own: State dict of the module.
        state: What is compared with it.
        wording: How a name, what it is in `state` and what it should be are put together.

    Returns:
        Names, some with what differs, by kind; kinds of which there are none are left out.
    """
    common = [name for name in own if name in state]
    found = {
        "missing": [name for name in own if name not in state],
        "unexpected": [name for name in state if name not in own],
        "of another shape": [
            wording.format(name, tuple(state[name].shape), tuple(own[name].shape))
            for name in common
            if own[name].shape != state[name].shape
        ],
        "of another type": [
            wording.format(name, state[name].dtype, own[name].dtype)
            for name in common
            if own[name].is_floating_point() and not state[name].is_floating_point()
        ],
    }
    return {kind: names for kind, names in found.items() if names}
