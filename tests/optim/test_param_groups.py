from torch import nn
from torch.optim import AdamW

from cast_exp.models import create_model
from cast_exp.optim import decay_all, no_decay_on_norm_and_bias


def test_all_that_is_trained_decays() -> None:
    model = create_model("cast_tiny")
    trained = [p for p in model.parameters() if p.requires_grad]
    assert len(trained) < len(list(model.parameters()))  # the last grouping is frozen
    optimizer = AdamW(decay_all(model), weight_decay=0.1)
    (group,) = optimizer.param_groups
    assert set(group["params"]) == set(trained)
    assert group["weight_decay"] == 0.1


def test_norms_and_biases_are_spared() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    model[2].weight.requires_grad_(False)
    optimizer = AdamW(no_decay_on_norm_and_bias(model), weight_decay=0.1)
    decay = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay == {
        model[0].weight: 0.1,
        model[0].bias: 0,
        model[1].weight: 0,
        model[1].bias: 0,
        model[2].bias: 0,
        model[3].weight: 0,
        model[3].bias: 0,
    }


def test_class_token_and_position_codes_are_spared() -> None:
    model = create_model("cast_tiny", positions="learned")
    decayed, spared = no_decay_on_norm_and_bias(model)
    codes = {"cls_token", "tokens.positions.grid", "tokens.positions.cls"}
    wanted = {
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.ndim == 1 or name in codes)
    }
    assert set(spared["params"]) == wanted
    assert len(decayed["params"]) + len(wanted) == len(decay_all(model)[0]["params"])
