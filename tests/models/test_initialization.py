"""Both families of initialisation, layer by layer."""

import math

import pytest
import torch
from torch import nn

from cast_exp.models import create_model
from cast_exp.models.initialization import initialize_truncated_normal, initialize_xavier


def blank() -> nn.Module:
    """A CAST of which every parameter is 7."""
    model = create_model("cast_tiny", fusion=True)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7)
    return model


def test_xavier_fills_linear_layers_but_the_stem() -> None:
    torch.manual_seed(0)
    model = blank()
    initialize_xavier(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not name.startswith("tokens.stem"):
            outputs = module.out_features / (3 if name.endswith("qkv") else 1)
            bound = math.sqrt(6 / (outputs + module.in_features))
            weight = module.weight.detach()
            assert 0.95 * bound < weight.abs().max() <= bound, name
            assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05), name
            assert not module.bias.any(), name
        else:
            assert all((p == 7).all() for p in module.parameters(recurse=False)), name


def test_truncated_normal_fills_blocks_and_class_token() -> None:
    torch.manual_seed(0)
    model = blank()
    initialize_truncated_normal(model)
    assert model.cls_token.std().item() == pytest.approx(0.02, rel=0.3)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("stages."):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05), name
            assert not module.bias.any(), name
        elif name:
            assert all((p == 7).all() for p in module.parameters(recurse=False)), name
