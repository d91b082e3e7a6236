"""Which parameters an optimizer trains, and which of them decay."""

from typing import Any

from timm.optim import param_groups_weight_decay
from torch import nn

ParameterGroups = list[dict[str, Any]]
"""What a torch optimizer takes as its parameters."""

_CODES = {"cls_token", "positions"}  # names of parameters, or of modules that hold them


def decay_all(module: nn.Module) -> ParameterGroups:
    """One group of all trainable parameters: the optimizer's weight decay is for every one.

    So does the official self-supervised recipe, norms, biases and tokens included.
    """
    return [{"params": [p for p in module.parameters() if p.requires_grad]}]


def no_decay_on_norm_and_bias(module: nn.Module) -> ParameterGroups:
    """Two groups of all trainable parameters: the first decays, the second does not.

    In the second are vectors (norms, biases), class tokens and position codes. So do most
    supervised recipes.
    """
    codes = [name for name, _ in module.named_parameters() if _CODES & {*name.split(".")}]
    fixed, decayed = param_groups_weight_decay(module, no_weight_decay_list=codes)
    return [{"params": decayed["params"]}, {"params": fixed["params"], "weight_decay": 0.0}]
