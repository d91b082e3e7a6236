"""Conversion of every official layout, at the shapes of CAST-S."""

import pytest
import torch
from support.official import (
    DEPTHS,
    DIM,
    LAYOUTS,
    backbone_shapes,
    backbone_state,
    blank,
    deit,
    linear_probe,
    moco,
    official_name,
    spml,
)

from cast_exp.checkpoints.official import convert_official, is_official
from cast_exp.errors import UserError
from cast_exp.models.positions import sincos_grid


def test_the_checkpoints_of_these_tests_have_as_many_names_as_those_of_the_release():
    def heads(variant, **options):
        return len(backbone_shapes(variant, **options)) + 2  # with that of a classifier

    assert heads("cast") == 357
    assert heads("cast", depths=(6, 3, 3, 3)) == 453
    assert heads("cast_seg") == 230
    assert heads("cast_deit") == 356
    assert heads("cast_seg_deit") == 363
    assert len(moco(blank(backbone_shapes("cast")))["state_dict"]) == 752
    assert len(spml(blank(backbone_shapes("cast_seg")))["embedding_model"]) == 228


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("restart", [False, True])
def test_every_layout_in_both_numberings(layout, restart):
    wrap, variant = LAYOUTS[layout]
    weights = backbone_state(variant, restart=restart)
    checkpoint = wrap(weights)
    assert is_official(checkpoint)
    official = convert_official(checkpoint)
    assert official.family == "cast"
    assert (official.dim, official.depths, official.image_size) == (DIM, DEPTHS, 224)
    assert official.fusion == ("seg" in variant)
    assert official.positions == ("learned" if "deit" in variant else "sincos")
    positions = {"tokens.positions.grid", "tokens.positions.cls"}
    used = set()
    for name in official.state.keys() - positions:
        theirs = official_name(name, restart)
        used.add(theirs)
        expected = weights[theirs].flatten(1) if "proj.12.weight" in theirs else weights[theirs]
        assert torch.equal(official.state[name], expected), name
    unused = {name for name in weights.keys() - used if not name.startswith("blocks.")}
    assert unused == {"pos_embed", "pe_token"} & weights.keys()


@pytest.mark.parametrize("variant", ["cast", "cast_deit"])
def test_position_codes(variant):
    state = backbone_state(variant)
    official = convert_official(state)
    grid, cls = (official.state[f"tokens.positions.{name}"] for name in ("grid", "cls"))
    if variant == "cast":
        assert torch.equal(grid, sincos_grid(DIM, 28, 28))
        assert torch.equal(cls, torch.zeros(1, 1, DIM))
    else:
        assert torch.equal(cls[0, 0], state["pos_embed"][0, 0])
        assert torch.equal(grid[0, :, 3, 5], state["pos_embed"][0, 1 + 3 * 28 + 5])


@pytest.mark.parametrize(("variant", "family"), [("vit", "vit"), ("tome", "cast")])
def test_baselines(variant, family):
    state = backbone_state(variant)
    official = convert_official(moco(state))
    assert (official.family, official.depths, official.image_size) == (family, (11,), 224)
    name = "blocks.7.mlp.fc1.weight" if family == "vit" else "stages.0.7.mlp.fc1.weight"
    assert torch.equal(official.state[name], state["blocks.7.mlp.fc1.weight"])


def test_deep():
    official = convert_official(blank(backbone_shapes("cast", depths=(6, 3, 3, 3))))
    assert official.depths == (6, 3, 3, 3)


def test_what_is_left_out_is_told():
    state = blank(backbone_shapes("cast"))
    left_out = convert_official(moco(state)).left_out
    kinds = {name.split(".")[0] for name in left_out}
    assert kinds == {"optimizer", "scaler", "momentum_encoder", "predictor", "head"}
    assert len(left_out) == 2 + 371 + 10 + 16
    deit_kinds = {name.split(".")[0] for name in convert_official(deit(state)).left_out}
    assert deit_kinds == {"optimizer", "lr_scheduler", "scaler", "model_ema", "head"}


def test_copies_of_blocks_that_differ():
    state = backbone_state("cast")
    name = "blocks.4.attn.qkv.bias"
    damaged = state | {name: state[name] + 1}
    with pytest.raises(UserError, match=r"blocks\.4\.attn\.qkv\.bias and blocks2\.4\.attn"):
        convert_official(linear_probe(damaged))


@pytest.mark.parametrize(
    ("restart", "gone"),
    [(True, "blocks2.1."), (True, "blocks3."), (False, "blocks2.4."), (False, "blocks1.2.")],
)
def test_missing_blocks(restart, gone):
    shapes = backbone_shapes("cast_seg", restart=restart)
    state = blank({name: shape for name, shape in shapes.items() if not name.startswith(gone)})
    with pytest.raises(UserError, match="lacks blocks"):
        convert_official(state)


def test_weights_that_no_backbone_has():
    state = blank(backbone_shapes("cast")) | {
        "blocks1.0.gamma": torch.ones(1),
        "mystery": torch.ones(1),
    }
    # A block may have any parts as far as this module knows; building the model tells them.
    assert "stages.0.0.gamma" in convert_official({**state, "mystery": 0}).state
    with pytest.raises(UserError, match=r"no backbone .* has: mystery"):
        convert_official(state)


def test_not_a_backbone():
    assert not is_official({"state_dict": {"conv.weight": torch.ones(1)}})
    with pytest.raises(UserError, match=r"lacks blocks.* starts with conv\.weight"):
        convert_official({"state_dict": {"conv.weight": torch.ones(1)}})
    state = blank(backbone_shapes("cast_seg")) | {"pos_embed": torch.ones(1, 783, DIM)}
    with pytest.raises(UserError, match="783 position codes"):
        convert_official(state)
