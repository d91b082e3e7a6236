"""The two families of initialisation of the official release."""

import math

from torch import nn


def initialize_xavier(model: nn.Module) -> None:
    """Self-supervised family: Xavier-uniform weights, zero biases, in every linear layer.

    A joint query-key-value layer counts as three layers of a third of its outputs. Convolutions,
    norms, the class token and pooling biases keep what their classes set.
    """
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        if "stem" in name.split("."):  # its projection is a 1x1 convolution, initialised as one
            continue
        outputs = module.out_features // 3 if name.endswith("qkv") else module.out_features
        bound = math.sqrt(6 / (outputs + module.in_features))
        nn.init.uniform_(module.weight, -bound, bound)
        nn.init.zeros_(module.bias)


def initialize_truncated_normal(model: nn.Module) -> None:
    """Supervised family: truncated normal of deviation 0.02 in the blocks and the class token.

    The groupings and the fusion block keep PyTorch's defaults, as in the official release.
    """
    for name, module in model.named_modules():
        if name.startswith("stages.") and isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    for name, parameter in model.named_parameters():
        if name == "cls_token":
            nn.init.trunc_normal_(parameter, std=0.02)
