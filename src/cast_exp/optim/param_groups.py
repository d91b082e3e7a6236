"""Which parameters an optimizer trains, and which of them decay."""

from typing import Any

from timm.optim import param_groups_weight_decay
from torch import nn

ParameterGroups = list[dict[str, Any]]
"""What a torch optimizer takes as its parameters."""


def decay_all(module: nn.Module) -> ParameterGroups:
    """One group of all trainable parameters: the optimizer's weight decay is for every one.

    So does the official self-supervised recipe, norms, biases and tokens included.
    """
    return [{"params": [p for p in module.parameters() if p.requires_grad]}]


def no_decay_on_norm_and_bias(module: nn.Module) -> ParameterGroups:
    """Two groups of all trainable parameters: vectors (norms, biases) do not decay, the rest does.

    So do most supervised recipes.
    """
    fixed, decayed = param_groups_weight_decay(module)
    return [{"params": decayed["params"]}, {"params": fixed["params"], "weight_decay": 0.0}]
