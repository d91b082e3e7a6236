"""The helper that finds what would make the host wait for a GPU."""

import pytest
import torch
from support.waits import Waits

VALUES, MASK = torch.arange(4.0), torch.tensor([True, False, True, False])


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: int(x.max()),
        lambda x: bool((x > 1).any()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: torch.where(x > 1),
        lambda x: x.unique(),
        lambda x: torch.unique(x.view(2, 2), dim=0),
        lambda x: torch.unique_consecutive(x),
        lambda x: x.long().bincount(),
        lambda x: x.masked_select(MASK),
        lambda x: x[MASK],
        lambda x: x[None][:, MASK],
        lambda x: x.clone().index_put_((MASK,), VALUES[:2]),
        lambda x: x.repeat_interleave(VALUES.long()),
        lambda x: torch.equal(x, VALUES),
    ],
)
def test_a_wait_is_found(wait):
    with Waits() as waits:
        wait(VALUES.clone())
    assert len(waits.found) == 1


def test_a_wait_of_a_gradient_is_found():
    values = VALUES.clone().requires_grad_()
    values.register_hook(lambda gradient: gradient * gradient.sum().item())
    with Waits() as waits:
        values.square().sum().backward()
    assert waits.found == ["aten._local_scalar_dense.default"]


def test_static_shapes_do_not_wait():
    with Waits() as waits:
        VALUES[torch.tensor([0, 2])] + VALUES.masked_fill(MASK, 0)[:2]
        torch.where(MASK, VALUES, 0).gather(0, VALUES.long())
        VALUES.repeat_interleave(2)
        VALUES.repeat_interleave(VALUES.long(), output_size=6)
    assert not waits.found
