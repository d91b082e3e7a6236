"""What changes the weights, and how fast."""

from cast_exp.optim.epoch_cosine import EpochCosine
from cast_exp.optim.momentum import keep_rate_in_momentum
from cast_exp.optim.param_groups import (
    ParameterGroups,
    decay_all,
    finetuning_groups,
    no_decay_on_norm_and_bias,
)
from cast_exp.optim.poly import Poly
from cast_exp.optim.schedules import Schedule, WarmupCosine, cosine_momentum
from cast_exp.optim.settings import change_settings, settings_of

__all__ = [
    "EpochCosine",
    "ParameterGroups",
    "Poly",
    "Schedule",
    "WarmupCosine",
    "change_settings",
    "cosine_momentum",
    "decay_all",
    "finetuning_groups",
    "keep_rate_in_momentum",
    "no_decay_on_norm_and_bias",
    "settings_of",
]
