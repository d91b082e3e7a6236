"""What the groups of an optimizer are told, and what of it changes when a run is resumed."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

Settings = Sequence[Mapping[str, Any]]
"""What each group is told, such as `initial_lr` and `weight_decay`; not its parameters."""


def settings_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """What the groups of a new optimizer, which has a schedule, are told."""
    return [
        {key: value for key, value in group.items() if key not in ("params", "lr")}
        for group in optimizer.param_groups
    ]


def change_settings(schedule: LambdaLR, before: Settings, now: Settings) -> None:
    """Set what groups are told otherwise than before, and their rates by the schedule.

    Whatever else an optimizer keeps in its groups stays.

    Args:
        schedule: Of the optimizer; both have the state of a checkpoint.
        before: What the groups were told when it was saved.
        now: What they are told in this run.
    """
    groups = schedule.optimizer.param_groups
    for group, former, settings in zip(groups, before, now, strict=True):
        group |= {k: v for k, v in settings.items() if k not in former or v != former[k]}
    schedule.base_lrs = [group["initial_lr"] for group in groups]
    for group, peak, factor in zip(groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
        group["lr"] = peak * factor(schedule.last_epoch)
