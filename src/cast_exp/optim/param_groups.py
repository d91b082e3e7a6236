"""Which parameters an optimizer trains, and which of them decay."""

from typing import Annotated, Any

from pydantic import Field
from timm.optim import param_groups_weight_decay
from torch import nn

ParameterGroups = list[dict[str, Any]]
"""What a torch optimizer takes as its parameters; `lr_scale` multiplies its rate for a group."""

Multiple = Annotated[float, Field(gt=0)]

_CODES = {"cls_token", "positions", "registers"}  # parameters, or modules that hold them


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


def finetuning_groups(
    module: nn.Module, head: Multiple = 10.0, bias: Multiple = 2.0
) -> ParameterGroups:
    """Four groups with rates of their own: weights and biases of the backbone, and of the head.

    Weights decay, of norms too; biases do not. Whatever is called neither, such as class tokens and
    position codes, is in further groups if it is trained, at the rate of weights but without decay.
    So is the official fine-tuning for segmentation, which trains no codes.

    Args:
        module: A task with a `backbone` and a `head`.
        head: How much faster the head learns.
        bias: How much faster biases learn.
    """
    scales = {"backbone": 1.0, "head": head}
    kinds: dict[str, dict[str, Any]] = {
        "weight": {"lr_scale": 1.0},
        "bias": {"lr_scale": bias, "weight_decay": 0.0},
        "code": {"lr_scale": 1.0, "weight_decay": 0.0},
    }
    groups = []
    for part, scale in scales.items():
        for kind, options in kinds.items():
            parameters = [
                parameter
                for name, parameter in module.get_submodule(part).named_parameters()
                if parameter.requires_grad and _kind(name) == kind
            ]
            if kind == "code" and not parameters:
                continue
            own = {"name": f"{part}_{kind}", "lr_scale": scale * options["lr_scale"]}
            groups.append({"params": parameters, **options, **own})
    return groups


def _kind(name: str) -> str:
    last = name.rpartition(".")[2]
    return last if last in ("weight", "bias") else "code"
