"""What changes the weights, and how fast."""

from cast_exp.optim.epoch_cosine import EpochCosine
from cast_exp.optim.param_groups import ParameterGroups, decay_all, no_decay_on_norm_and_bias
from cast_exp.optim.schedules import WarmupCosine, cosine_momentum

__all__ = [
    "EpochCosine",
    "ParameterGroups",
    "WarmupCosine",
    "cosine_momentum",
    "decay_all",
    "no_decay_on_norm_and_bias",
]
