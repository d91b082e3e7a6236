from functools import partial

import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from cast_exp.optim import change_settings, settings_of


def made(rate: float, decay: float) -> tuple[Optimizer, LambdaLR]:
    groups = [{"params": [nn.Parameter(torch.ones(2))], "lr": rate * scale} for scale in (1, 10)]
    optimizer = partial(SGD, momentum=0.9, weight_decay=decay)(groups)
    return optimizer, LambdaLR(optimizer, lambda step: 1 / (1 + step))


def test_what_is_told_otherwise_changes_and_nothing_else() -> None:
    (old, schedule), (new, resumed) = made(0.5, 0.1), made(0.25, 0.1)
    before, now = settings_of(old), settings_of(new)
    for group in old.param_groups:  # what an optimizer may find out by itself
        group["estimate"] = 3.0
    for _ in range(3):
        old.step()
        schedule.step()
    new.load_state_dict(old.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    change_settings(resumed, before, now)
    assert [group["lr"] for group in new.param_groups] == [0.25 / 4, 2.5 / 4]
    assert [group["estimate"] for group in new.param_groups] == [3.0, 3.0]
    resumed.step()
    assert [group["lr"] for group in new.param_groups] == [0.25 / 5, 2.5 / 5]
    assert [group["weight_decay"] for group in new.param_groups] == [0.1, 0.1]

    change_settings(resumed, now, settings_of(made(0.25, 0.2)[0]))
    assert [group["weight_decay"] for group in new.param_groups] == [0.2, 0.2]
