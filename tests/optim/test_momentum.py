"""Steps of SGD whose momentum holds the rate, against the official formula."""

import pytest
import torch
from torch import nn
from torch.optim import SGD

from cast_exp.optim import keep_rate_in_momentum


def test_steps_are_those_of_the_official_formula() -> None:
    """v <- m v + r (g + d p), p <- p - v, with rates that change from step to step."""
    start = [torch.randn(3, 2), torch.randn(4)]
    parameters = [nn.Parameter(value.clone()) for value in start]
    groups = [
        {"params": [parameters[0]], "weight_decay": 0.1},
        {"params": [parameters[1]], "weight_decay": 0.0},
    ]
    optimizer = SGD(groups, lr=1.0, momentum=0.9)
    expected, velocity = [value.clone() for value in start], [torch.zeros_like(v) for v in start]
    for rate in (0.3, 0.3, 0.1, 0.5, 0.02):
        for group, scale in zip(optimizer.param_groups, (1, 10), strict=True):
            group["lr"] = rate * scale
        for number, (parameter, decay) in enumerate(zip(parameters, (0.1, 0.0), strict=True)):
            gradient = torch.randn_like(parameter)
            parameter.grad = gradient.clone()
            step = rate * (1, 10)[number] * (gradient + decay * expected[number])
            velocity[number] = 0.9 * velocity[number] + step
            expected[number] = expected[number] - velocity[number]
        keep_rate_in_momentum(optimizer)
        optimizer.step()
        for parameter, value in zip(parameters, expected, strict=True):
            torch.testing.assert_close(parameter.detach(), value, rtol=1e-4, atol=1e-5)
    keep_rate_in_momentum(optimizer)  # of the same rate, nothing changes
    buffer = optimizer.state[parameters[1]]["momentum_buffer"]
    assert buffer.sum().item() == pytest.approx(velocity[1].sum().item() / 0.2, rel=1e-3)
