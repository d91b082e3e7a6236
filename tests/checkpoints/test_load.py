"""Backbones from checkpoints of every layout, at the shapes of CAST-S, and from our own."""

import logging

import pytest
import torch
from support.official import (
    DEPTHS,
    LAYOUTS,
    backbone_shapes,
    backbone_state,
    blank,
    build_official,
    linear_probe,
    moco,
    official_name,
    segmenter,
)
from support.stored import equal, own

from cast_exp.checkpoints.files import CONFIG, PREFIX
from cast_exp.checkpoints.load import load_pretrained, load_projector
from cast_exp.errors import UserError
from cast_exp.models import CAST, Pooling, ToMe, ViT
from cast_exp.models.heads import ContrastiveMLP
from cast_exp.models.positions import resize_grid

GRID = "tokens.positions.grid"


@pytest.fixture
def save(tmp_path):
    """Save a checkpoint; the file goes after the test, as it is large."""
    path = tmp_path / "checkpoint.pth"

    def save(checkpoint):
        torch.save(checkpoint, path)
        return path

    yield save
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_official_layout(layout, save, caplog):
    wrap, variant = LAYOUTS[layout]
    weights = backbone_state(variant)
    with caplog.at_level(logging.INFO, "cast_exp"):
        model = load_pretrained(save(wrap(weights)))
    for name, value in model.state_dict().items():
        if "positions" not in name:
            theirs = weights[official_name(name, restart=variant == "cast_seg")]
            assert torch.equal(value, theirs.view_as(value)), name
    assert isinstance(model, CAST)
    assert model.config.depths == DEPTHS
    dense = layout in ("segmenter", "spml")
    assert model.config.levels == ((320, 160, 80, 40) if dense else (64, 32, 16, 8))
    assert model.config.image_size == 224
    assert model.config.sampling == ("interpolated" if dense else "nearest")
    assert (model.fusion is not None) == model.config.fusion == ("seg" in variant)
    [line] = [record.message for record in caplog.records if record.name.startswith("cast_exp")]
    left_out = {
        "moco": "left out optimizer, scaler, momentum_encoder (371), predictor (10), head (16)",
        "linear_probe": "left out optimizer, head (2)",
        "deit": "left out optimizer, lr_scheduler, model_ema, scaler, head (2)",
        "segmenter": "left out optimizer, lr_scheduler, decoder (3), head (2), norm (2)",
        "spml": "left out prediction_model",
        "retrieval": "scaler, momentum_encoder (244), predictor (10), head (16)",
    }
    assert line.endswith(left_out[layout])


@torch.no_grad()
def test_the_model_runs(save):
    model = load_pretrained(save(moco(backbone_state("cast")))).eval()
    labels = (torch.arange(224)[:, None] // 16 * 14 + torch.arange(224) // 16)[None]
    hierarchy = model(torch.randn(1, 3, 224, 224), labels)
    assert hierarchy.cls.isfinite().all()
    assert [level.tokens.shape[1] for level in hierarchy.levels] == [196, 64, 32, 16, 8]


def test_baselines():
    assert isinstance(build_official(moco(backbone_state("vit"))), ViT)
    superpixels = build_official(backbone_state("tome"))
    assert isinstance(superpixels, CAST)
    assert superpixels.config.levels == ()
    merging = build_official(backbone_state("tome"), merged=8)
    assert isinstance(merging, ToMe)
    assert merging.merged == 8


def test_a_fusion_block_for_a_model_that_has_none(caplog):
    state = backbone_state("cast_deit")
    with caplog.at_level(logging.INFO, "cast_exp"):
        model = build_official(state, fusion=True, sampling="interpolated")
    assert "left out norm (2); newly initialised fusion (7)" in caplog.text
    assert model.config.fusion
    assert model.config.sampling == "interpolated"
    assert torch.equal(model.fusion.norm.weight, torch.ones(4 * 384))
    assert model.fusion.projection.weight.std() > 0
    name = "stages.3.1.mlp.fc2.weight"
    assert torch.equal(model.state_dict()[name], state[official_name(name, restart=False)])


@pytest.mark.parametrize("variant", ["cast_seg", "cast_seg_deit"])
def test_a_dense_model_for_recognition(variant, caplog):
    state = backbone_state(variant)
    with caplog.at_level(logging.INFO, "cast_exp"):
        model = build_official(state, fusion=False)
    assert model.fusion is None
    assert "left out fusion (7)" in caplog.text
    if variant == "cast_seg":  # the file has no final norm
        assert "newly initialised norm (2)" in caplog.text
        assert torch.equal(model.norm.weight, torch.ones(384))
    else:
        assert "newly" not in caplog.text
        assert torch.equal(model.norm.weight, state["norm.weight"])


@pytest.mark.parametrize("variant", ["cast", "cast_deit"])
def test_position_codes_for_larger_images(variant, caplog):
    state = backbone_state(variant)
    with caplog.at_level(logging.INFO, "cast_exp"):
        model = build_official(state, image_size=512)
    codes = state["pos_embed"][:, -784:].mT.reshape(1, 384, 28, 28)
    expected = torch.nn.functional.interpolate(codes, (64, 64), mode="bicubic")
    assert torch.equal(model.tokens.positions.grid, expected)
    assert "position codes resized from 224 to 512 px" in caplog.text
    assert model.config.image_size == 512


def test_position_codes_of_a_larger_grid():
    shapes = backbone_shapes("cast_seg") | {"pos_embed": [1, 4096, 384]}
    assert build_official(blank(shapes)).config.image_size == 512


def test_weights_that_are_missing_added_or_of_another_shape(save):
    weights = blank(backbone_shapes("cast"))
    weights["blocks1.1.norm1.bias"] = torch.zeros(7)
    del weights["blocks.1.norm1.bias"]
    del weights["blocks2.4.attn.proj.bias"], weights["blocks.4.attn.proj.bias"]
    del weights["norm.bias"]
    weights["blocks1.0.gamma"] = torch.zeros(7)
    with pytest.raises(UserError) as error:
        load_pretrained(save(linear_probe(weights)))
    assert str(error.value) == (
        "the checkpoint does not fit the model: 2 missing: stages.1.1.attn.proj.bias, norm.bias; "
        "1 unexpected: stages.0.0.gamma; "
        "1 of another shape: stages.0.1.norm1.bias (7,) for (384,)"
    )


def test_a_fusion_block_in_part():
    weights = blank(backbone_shapes("cast_seg_deit"))
    del weights["block_fusion.proj_blocks.2.bias"]
    with pytest.raises(UserError, match=r"1 missing: fusion\.projection\.bias"):
        build_official(segmenter(weights))


@pytest.mark.parametrize("fusion", [False, True])
def test_our_own(fusion, save, caplog):
    checkpoint, model = own(fusion=fusion, mask_empty=False, sampling="interpolated")
    with caplog.at_level(logging.INFO, "cast_exp"):
        loaded = load_pretrained(save(checkpoint))
    assert equal(loaded, model)
    assert loaded.config == model.config
    assert caplog.messages[-1].endswith("left out head")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_average_of_the_official_release(prefix, save, caplog):
    weights, wrap = backbone_state("cast_deit"), LAYOUTS["deit"][0]
    average = {name: value + 1 for name, value in weights.items()}
    checkpoint = wrap(weights) | {"model_ema": {prefix + k: v for k, v in average.items()}}
    with caplog.at_level(logging.INFO, "cast_exp"):
        model = load_pretrained(save(checkpoint), weights="average")
    for name, value in model.state_dict().items():
        if "positions" not in name:
            theirs = average[official_name(name, restart=False)]
            assert torch.equal(value, theirs.view_as(value)), name
    assert caplog.messages[-1].startswith("loaded the average in")
    assert caplog.messages[-1].endswith("left out model, optimizer, lr_scheduler, scaler")


@pytest.mark.parametrize("kept", [None, {}])
def test_an_official_one_without_average(kept, save):
    checkpoint = LAYOUTS["deit"][0](backbone_state("cast_deit")) | {"model_ema": kept}
    with pytest.raises(UserError, match=r"keeps no average .*take the trained ones"):
        load_pretrained(save(checkpoint), weights="average")


@pytest.mark.parametrize("make", [lambda: own()[0], lambda: moco(blank(backbone_shapes("cast")))])
def test_weights_without_average(make, save):
    with pytest.raises(UserError, match=r"keeps no average .*take the trained ones"):
        load_pretrained(save(make()), weights="average")


def test_our_own_with_changes(save):
    checkpoint, model = own()
    changed = load_pretrained(
        str(save(checkpoint)),
        pooling=Pooling((8, 4)),
        fusion=True,
        image_size=64,
        mask_empty=False,
        sampling="interpolated",
    )
    assert changed.levels == (8, 4)
    assert changed.fusion is not None
    assert not changed.mask_empty
    assert changed.tokens.sampling == "interpolated"
    expected = resize_grid(model.tokens.positions.grid, 8, 8)
    assert torch.equal(changed.tokens.positions.grid, expected)
    checkpoint = {
        CONFIG: changed.config.to_dict(),
        "state_dict": {PREFIX + name: value for name, value in changed.state_dict().items()},
    }
    assert load_pretrained(save(checkpoint)).config == changed.config


def test_another_number_of_levels(save):
    path = save(own()[0])
    levels = load_pretrained(path).config.levels
    with pytest.raises(UserError, match=rf"levels=\[3\]: .* groups {len(levels)} times"):
        load_pretrained(path, pooling=Pooling((3,)))


def test_levels_for_a_model_that_does_not_group(save):
    with pytest.raises(UserError, match="a vit has no pooling levels"):
        build_official(blank(backbone_shapes("vit")), pooling=Pooling((4,)))


def test_a_run_that_was_killed_while_it_saved(save):
    path = save(own()[0])
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"is cut short; copy or download it again$"):
        load_pretrained(path)


def test_code_in_a_checkpoint_is_not_run(save):
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_pretrained(save({"model": Evil()}))


class Evil:
    def __reduce__(self):
        return pytest.fail, ("the code was run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [({"weights": 3}, "neither .* it holds weights"), ([1], "holds a list, not a checkpoint")],
)
def test_not_a_checkpoint(content, message, save):
    with pytest.raises(UserError, match=message):
        load_pretrained(save(content))


def test_no_such_checkpoint():
    with pytest.raises(UserError, match=r"no checkpoint at cast_small_moco; did you mean cast_sm"):
        load_pretrained("cast_small_moco")
    with pytest.raises(UserError, match=r"the name of the checkpoint is empty"):
        load_pretrained("")
    with pytest.raises(UserError, match=r"no checkpoint at runs/last\.ckpt; check the path"):
        load_pretrained("runs/last.ckpt")


@pytest.mark.parametrize("widths", [(24, 16, 12, 8), (24, 8)])
def test_the_projector_of_our_own(widths, save):
    checkpoint, _ = own()
    projector = ContrastiveMLP(*widths)
    projector(torch.randn(9, 24))  # moves the running statistics
    checkpoint["state_dict"] |= {f"projector.{k}": v for k, v in projector.state_dict().items()}
    loaded = load_projector(save(checkpoint))
    assert equal(loaded, projector)
    assert not loaded.training
    assert loaded(torch.randn(5, 24)).shape == (5, widths[-1])


def test_the_projector_of_the_official_release(save):
    checkpoint = moco(backbone_state("cast"))
    for name, value in checkpoint["state_dict"].items():
        if "base_encoder.head" in name:
            checkpoint["state_dict"][name] = torch.full_like(value, len(name))
    loaded = load_projector(save(checkpoint))
    assert [layer.in_features for layer in loaded if hasattr(layer, "in_features")] == [
        384,
        4096,
        4096,
    ]
    for name, value in loaded.state_dict().items():
        assert bool((value == len("module.base_encoder.head." + name)).all())


@pytest.mark.parametrize("wrap", [linear_probe, lambda state: own()[0]])
def test_no_projector(wrap, save):
    assert load_projector(save(wrap(backbone_state("cast")))) is None


def test_a_projector_in_part(save):
    checkpoint, _ = own()
    checkpoint["state_dict"]["projector.0.weight"] = torch.ones(8, 24)
    with pytest.raises(UserError, match=r"3 missing: 1\.running_mean, 1\.running_var"):
        load_projector(save(checkpoint))
