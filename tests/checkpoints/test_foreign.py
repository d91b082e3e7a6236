"""ViTs of others, against timm's own forward on random weights of each layout."""

import json
import logging
import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from support.cli import SMALL, cast_eval, cast_train, runs
from support.commands import ROOT
from support.official import build_official
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import SwiGLUPacked
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2.functional import normalize

from cast_exp.checkpoints import load_pretrained, load_projector, save_pretrained
from cast_exp.checkpoints.foreign import convert_foreign, is_foreign
from cast_exp.errors import UserError
from cast_exp.models import ViT
from cast_exp.models.pooling import Pooling
from cast_exp.models.registry import build_backbone
from cast_exp.segment import main as segment

MAPS = torch.zeros(2, 32, 24, dtype=torch.long)  # superpixels, which a ViT ignores


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def renamed(state, *pairs):
    for pattern, form in pairs:
        state = {re.sub(pattern, form, name): value for name, value in state.items()}
    return state


def dinov2(state):
    """Names of the hub's files: registers have no position codes, the class token has."""
    state = renamed(
        state,
        (r"^reg_token$", "register_tokens"),
        (r"mlp\.fc1\.", "mlp.w12."),
        (r"mlp\.fc2\.", "mlp.w3."),
    )
    codes = state["pos_embed"]
    state["pos_embed"] = torch.cat([torch.full_like(codes[:, :1], 0.5), codes], 1)
    state["cls_token"] = state["cls_token"] - 0.5
    return state | {"mask_token": torch.zeros(1, 128)}


def moco(state):
    head = {"0.weight": torch.randn(8, 48), "1.weight": torch.ones(8), "1.bias": torch.zeros(8)}
    head |= {"1.running_mean": torch.zeros(8), "1.running_var": torch.ones(8)}
    head |= {"1.num_batches_tracked": torch.tensor(0), "3.weight": torch.randn(4, 8)}
    head |= {f"4.{name}": head[f"1.{name}"] for name in ("num_batches_tracked",)}
    head |= {"4.running_mean": torch.zeros(4), "4.running_var": torch.ones(4)}
    state = {name: value for name, value in state.items() if not name.startswith("head")}
    query = prefixed("module.base_encoder.", state | prefixed("head.", head))
    key = prefixed("module.momentum_encoder.", {k: v + 1 for k, v in state.items()})
    return {"arch": "vit_small", "state_dict": query | key, "optimizer": {}}


def mae(state):
    return {
        "model": state
        | {"mask_token": torch.zeros(1, 1, 128), "decoder_pred.bias": state["norm.bias"]}
    }


SWIGLU = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 2.66667 * 2}
REGISTERS = {"reg_tokens": 3, "no_embed_class": True}
LAYOUTS = {
    # what timm's class is built with, and what makes a checkpoint of its state dict
    "timm": ({}, dict),
    "timm, no biases of queries": ({"qkv_bias": False}, dict),
    "timm, normalised queries": ({"qk_norm": True, "num_heads": 4}, dict),
    "timm, registers with codes": ({"reg_tokens": 3}, dict),
    "timm, mean of patches": (
        {"class_token": False, "global_pool": "avg", "fc_norm": False, **REGISTERS},
        dict,
    ),
    "timm, norm of the mean": ({"global_pool": "avg"}, lambda state: {"state_dict": state}),
    "DINO": ({"num_classes": 0}, dict),
    "DINO, in training": (
        {"num_classes": 0},
        lambda state: {
            "student": prefixed("module.backbone.", {k: v + 1 for k, v in state.items()}),
            "teacher": prefixed("backbone.", state) | {"head.mlp.0.weight": state["norm.bias"]},
        },
    ),
    "DINOv2": ({"init_values": 1.0}, lambda state: state | {"mask_token": torch.zeros(1, 128)}),
    "DINOv2, registers and SwiGLU": ({"init_values": 1.0, **REGISTERS, **SWIGLU}, dinov2),
    "DINOv2, in training": (
        {"init_values": 1.0, "num_classes": 0},
        lambda state: {
            "teacher": prefixed(
                "backbone.",
                renamed(state, (r"^blocks\.0\.", "blocks.0.0."), (r"^blocks\.1\.", "blocks.1.1.")),
            )
        },
    ),
    "MoCo-v3": ({"embed_dim": 48, "num_heads": 12}, moco),
    "MoCo-v3, linear probe": (
        {"embed_dim": 48, "num_heads": 12},
        lambda state: {"arch": "vit_small", "state_dict": prefixed("module.", state)},
    ),
    "DeiT": ({}, lambda state: {"model": state}),
    "DeiT, distilled": ({"distilled": True}, lambda state: {"model": state}),
    "DeiT III": (
        {"init_values": 1.0, "no_embed_class": True},
        lambda state: {"model": renamed(state, (r"\.ls(\d)\.gamma", r".gamma_\1"))},
    ),
    "MAE": ({}, mae),
}


def build(distilled=False, **options):
    """A timm model of random weights, none of which could be left out unseen."""
    made = VisionTransformerDistilled if distilled else VisionTransformer
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2}
    model = made(**{**shape, "num_classes": 5, "qkv_bias": True, **options}).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = 0.1 * noise if parameter.ndim == 2 else parameter.data + 0.3 * noise
    return model


@torch.no_grad()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_what_timm_gives(layout, tmp_path, caplog):
    options, wrap = LAYOUTS[layout]
    reference = build(**options)
    torch.save(wrap(reference.state_dict()), tmp_path / "vit.pth")
    with caplog.at_level(logging.INFO, "cast_exp"):
        model = load_pretrained(tmp_path / "vit.pth", fusion=True).eval()
    assert f"{reference.blocks[0].attn.num_heads} heads" in caplog.text
    for each in (model, again(model, tmp_path)):
        images = torch.randn(2, 3, 32, 32)
        hierarchy = each(images, MAPS)
        features = reference.forward_features(images)
        tokens = features[:, reference.num_prefix_tokens :]
        if isinstance(reference.norm, nn.Identity):  # ours are always normalised
            torch.testing.assert_close(hierarchy.levels[0].tokens, tokens, atol=1e-5, rtol=1e-5)
            tokens = reference.fc_norm(tokens)
        torch.testing.assert_close(hierarchy.fused, tokens, atol=1e-5, rtol=1e-5)
        reference.reset_classifier(0)
        torch.testing.assert_close(hierarchy.cls, reference(images), atol=1e-5, rtol=1e-5)
        assert hierarchy.grid == (4, 4)
        assert each.patch_size == 8


def of(state, **options):
    return build_official(state, **options).eval()


def again(model, folder):
    """A model that was saved and read again, as our own."""
    save_pretrained(model, folder / "ours")
    return load_pretrained(folder / "ours").eval()


@torch.no_grad()
def test_the_attention_of_the_class_token_is_that_to_patches():
    reference = build(reg_tokens=3)
    model = of(reference.state_dict())
    attention = reference.blocks[1].attn
    attention.fused_attn = False
    seen = []
    attention.attn_drop.register_forward_hook(lambda module, inputs, output: seen.append(output))
    images = torch.randn(2, 3, 32, 32)
    reference(images)
    heads = model(images, MAPS, attention=model.figure_block).attention.heads
    torch.testing.assert_close(heads, seen[0][:, :, 0, 4:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_images_of_any_size_have_resampled_codes_and_are_padded():
    state = build(reg_tokens=3).state_dict()
    larger = build(reg_tokens=3, img_size=(48, 40))
    codes = state["pos_embed"]
    grid = codes[:, 4:].mT.reshape(1, -1, 4, 4)
    grid = F.interpolate(grid, (6, 5), mode="bicubic").flatten(2).mT
    larger.load_state_dict(state | {"pos_embed": torch.cat([codes[:, :4], grid], 1)})
    larger.reset_classifier(0)
    images = torch.randn(2, 3, 45, 37)
    expected = larger(F.pad(images, (0, 3, 0, 3)))
    hierarchy = of(state)(images, MAPS)
    torch.testing.assert_close(hierarchy.cls, expected, atol=1e-5, rtol=1e-5)
    assert hierarchy.grid == (6, 5)
    assert hierarchy.superpixels.shape == (2, 45, 37)
    assert hierarchy.superpixels[0, 44, 36] == 29
    resized = of(state, image_size=48).positions.grid
    assert resized.shape == (1, 128, 6, 6)


@torch.no_grad()
@pytest.mark.parametrize("said", ["argument", "card", "timm's own"])
def test_another_normalisation_becomes_part_of_the_stem(said, tmp_path):
    reference = build(num_classes=0)
    mean, std = ([0.5] * 3, [0.5] * 3) if said != "timm's own" else ([0.1, 0.2, 0.3], [1, 2, 3])
    save_file(reference.state_dict(), tmp_path / "model.safetensors")
    options = {"normalization": "inception"} if said == "argument" else {}
    if not options:
        card = {"architecture": "vit", "pretrained_cfg": {"mean": mean, "std": std}}
        (tmp_path / "config.json").write_text(json.dumps(card))
    file = tmp_path if said == "card" else tmp_path / "model.safetensors"
    model = load_pretrained(file, **options).eval()
    images = torch.rand(2, 3, 32, 32)
    found = model(normalize(images, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD), MAPS).cls
    torch.testing.assert_close(found, reference(normalize(images, mean, std)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224",
        "vit_huge_patch14_224",
        "vit_gigantic_patch14_224",
        "vit_so400m_patch14_siglip_gap_224",
        "vit_medium_patch16_reg4_gap_256",
        "vit_giant_patch14_reg4_dinov2",
        "deit_base_distilled_patch16_384",
    ],
)
def test_published_sizes_are_read_from_names_and_shapes(name):
    try:
        with torch.device("meta"):
            reference = timm.create_model(name, num_classes=0)
    except RuntimeError:
        pytest.skip("this timm needs the memory of a model to build it")
    state = reference.state_dict()
    assert is_foreign(state)
    config, weights, left_out = convert_foreign(state)
    with torch.device("meta"):
        model = build_backbone(config, Pooling(()))
    assert config.heads == reference.blocks[0].attn.num_heads
    assert config.image_size == reference.patch_embed.img_size[0]
    assert not left_out
    shapes = {key: value.shape for key, value in weights.items()}
    assert shapes == {key: value.shape for key, value in model.state_dict().items()}


def test_the_projector_of_moco_is_there(tmp_path):
    torch.save(moco(build(embed_dim=48, num_heads=12).state_dict()), tmp_path / "vit.pth")
    assert load_projector(tmp_path / "vit.pth")(torch.randn(3, 48)).shape == (3, 4)


def test_an_average_is_taken_if_there_is_one(tmp_path):
    state = build().state_dict()
    average = {name: value + 1 for name, value in state.items()}
    torch.save({"model": state, "model_ema": average}, tmp_path / "deit.pth")
    torch.save(state, tmp_path / "vit.pth")
    kept = load_pretrained(tmp_path / "deit.pth", weights="average")
    assert torch.equal(kept.norm.weight, average["norm.weight"])
    with pytest.raises(UserError, match="keeps no average"):
        load_pretrained(tmp_path / "vit.pth", weights="average")


def test_without_a_class_token_there_is_no_figure():
    model = of(build(class_token=False, global_pool="avg").state_dict())
    with pytest.raises(UserError, match="no class token"):
        model(torch.randn(2, 3, 32, 32), MAPS, attention=0)
    assert isinstance(model, ViT)
    assert not {"cls_token", "positions.cls"} & model.state_dict().keys()


@pytest.mark.parametrize(
    ("changes", "options", "complaint"),
    [
        ({}, {"heads": 3}, r"3 heads do not divide a width of 128; set heads"),
        ({"pos_embed": torch.zeros(1, 19, 128)}, {}, "19 position codes are not a square grid"),
        ({"pos_embed": torch.zeros(17, 128)}, {}, "pos_embed is no array of 3 axes"),
        ({"patch_embed.proj.weight": torch.zeros(128, 1, 8, 8)}, {}, "takes 1 channels"),
        ({"reg_token": torch.zeros(())}, {}, "reg_token is no array of 3 axes"),
        ({"reg_token": torch.zeros(1, 2, 64)}, {}, "reg_token is not 128 wide"),
        ({"dist_token": torch.zeros(1, 1, 64)}, {}, "dist_token is not 128 wide"),
        ({"blocks.0.attn.q_norm.weight": torch.ones(0)}, {}, "q_norm.weight is no array of 1"),
        (
            {"blocks.0.attn.q_norm.weight": torch.ones(())},
            {},
            "q_norm.weight is no array of 1 axes",
        ),
        (
            {"patch_embed.proj.bias": torch.ones(7)},
            {"normalization": "inception"},
            "bias is not 128",
        ),
        ({"norm_pre.weight": torch.ones(128)}, {}, "1 unexpected: norm_pre.weight"),
        ({"blocks.4.norm1.bias": torch.ones(128)}, {}, "1 unexpected: blocks.4"),
    ],
)
def test_what_is_no_such_vit_is_told(changes, options, complaint):
    with pytest.raises(UserError, match=complaint):
        of(build().state_dict() | changes, **options)


@pytest.mark.slow
def test_it_is_probed_fine_tuned_evaluated_and_segmented_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = build(init_values=1.0, **REGISTERS).state_dict()
    torch.save(state, "vit.pth")
    data = [text for text in SMALL if text.startswith(("data.", "superpixel"))]
    small = [*data, "checkpoint=vit.pth"]
    probe = ["experiment=in1k_linear", "data=shapes", "trainer.max_epochs=1"]
    assert cast_train(*probe, *small) == 0
    tune = ["experiment=shapes_finetune", "model.fusion=true", "trainer.max_steps=1"]
    assert cast_train(*tune, *small, "data.crop=32") == 0
    [tuned] = [run for run in runs() if "finetune" in str(run)]
    again = load_pretrained(tuned)
    assert again.config.patch_size == 8
    assert not torch.equal(again.norm.weight, state["norm.weight"])
    assert torch.equal(again.registers, state["reg_token"])
    evaluate = ["experiment=shapes_moco", "evaluate=[knn,retrieval,figure_ground]"]
    few = ["scenes.image_size=32", "scenes.superpixel.count=16", "scenes.workers=0"]
    few += ["scenes.dataset.train=4", "scenes.dataset.val=2", "evaluation.retrieval.segments=4"]
    assert cast_eval(*evaluate, *small, *few, "model.fusion=true") == 0
    photo = str(ROOT / "docs/creatures.png")
    assert segment([photo, "--checkpoint=vit.pth", "--size=64", "--task=figure_ground"]) == 0
    assert (tmp_path / "segments" / "creatures" / "head_2.png").is_file()
