"""What timm's users ask of a model, after timm's own tests of models."""

import copy
import pickle

import pytest
import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import group_parameters
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn import functional as F

from cast_exp import create_model
from cast_exp.errors import UserError
from cast_exp.models import Hierarchy, Pooling, TimmModel

NAMES = ["cast_tiny", "cast_small", "cast_small_deep", "cast_base", "cast_base_deep"]
SUPERPIXELS = torch.arange(16).view(1, 4, 4).repeat_interleave(16, 1).repeat_interleave(16, 2)
SUPERPIXELS = SUPERPIXELS.expand(2, -1, -1)


def tiny(**options: object) -> TimmModel:
    torch.manual_seed(0)
    return timm.create_model("cast_tiny", pooling=Pooling((8, 4)), img_size=64, **options)


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_default_configs_hold(name: str) -> None:
    assert timm.is_model(name)
    with torch.device("meta"):
        model = timm.create_model(name)
    cfg = model.default_cfg
    assert cfg is model.pretrained_cfg
    assert cfg["architecture"] == name
    assert model.get_submodule(cfg["classifier"]) is model.get_classifier()
    assert model.get_classifier().out_features == model.num_classes == cfg["num_classes"] == 1000
    first = model.get_submodule(cfg["first_conv"])
    assert first is next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    assert first.in_channels == cfg["input_size"][0]
    side = cfg["input_size"][-1]
    assert model.backbone.tokens.positions.grid.shape[-1] == side // model.backbone.stem.stride
    assert model.num_features == model.embed_dim == model.head_hidden_size == model.backbone.dim
    assert sorted(timm.list_models("cast_*")) == sorted(NAMES)


def test_data_are_prepared_as_the_model_says() -> None:
    config = resolve_model_data_config(timm.create_model("cast_tiny", img_size=256))
    assert config["input_size"] == (3, 256, 256)
    assert config["mean"] == pytest.approx((0.485, 0.456, 0.406))
    assert (config["interpolation"], config["crop_pct"]) == ("bilinear", 0.875)
    assert resolve_model_data_config(tiny())["input_size"] == (3, 64, 64)
    overlay = {"crop_pct": 1.0}
    assert resolve_model_data_config(tiny(pretrained_cfg_overlay=overlay))["crop_pct"] == 1


@torch.no_grad()
def test_forward_with_and_without_classes() -> None:
    model = tiny(num_classes=10).eval()
    features = model.forward_features(images(), SUPERPIXELS)
    assert isinstance(features, Hierarchy)
    assert [level.tokens.shape[1] for level in features.levels] == [16, 8, 4]
    logits = model(images(), SUPERPIXELS)
    assert logits.shape == (2, 10)
    assert not logits.isnan().any()
    torch.testing.assert_close(logits, model.forward_head(features))
    cls = model.backbone(images(), SUPERPIXELS).cls
    torch.testing.assert_close(logits, F.linear(cls, model.head.weight, model.head.bias))
    assert torch.equal(model.forward_head(features, pre_logits=True), features.cls)

    model.reset_classifier(0)
    assert model.num_classes == 0
    torch.testing.assert_close(model(images(), SUPERPIXELS), cls)
    model.double().reset_classifier(7, global_pool="token")
    assert model(images().double(), SUPERPIXELS).shape == (2, 7)
    assert tiny(num_classes=0).get_classifier()(cls) is cls


def test_the_backbone_is_the_packages() -> None:
    model = tiny(drop_path_rate=0.2, fusion=True)
    torch.manual_seed(0)
    options = {"pooling": Pooling((8, 4)), "image_size": 64, "fusion": True}
    own = create_model("cast_tiny", drop_path=0.2, **options)
    assert model.backbone.config == own.config
    assert all(map(torch.equal, model.backbone.parameters(), own.parameters()))
    assert TimmModel(own, num_classes=3).get_classifier().out_features == 3


def gradients(model: TimmModel) -> dict[str, Tensor]:
    model.train().zero_grad()
    torch.manual_seed(2)
    F.cross_entropy(model(images(), SUPERPIXELS), torch.tensor([1, 2])).backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert not [name for name, gradient in trained.items() if gradient is None]
    return {name: gradient.clone() for name, gradient in trained.items()}


@pytest.mark.parametrize("fusion", [False, True])
def test_every_trained_parameter_has_a_gradient(fusion: bool) -> None:
    model = tiny(num_classes=10, fusion=fusion)
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())
    fixed = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert not fixed  # two groupings for four stages: none is last


def test_checkpointing_changes_no_gradient() -> None:
    model = tiny(num_classes=10, drop_rate=0.3, drop_path_rate=0.2)
    wanted = gradients(model)
    runs = []
    block = model.backbone.stages[0][0]
    block.register_forward_pre_hook(lambda *_: runs.append(1))
    model.set_grad_checkpointing()
    found = gradients(model)
    assert len(runs) == 2
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient)
    model.set_grad_checkpointing(False)
    gradients(model)
    assert len(runs) == 3


def test_dropout_before_the_classifier() -> None:
    features = tiny().forward_features(images(), SUPERPIXELS)
    model = tiny(drop_rate=0.9).train()
    assert (model.forward_head(features, pre_logits=True) == 0).any()
    assert not (model.eval().forward_head(features, pre_logits=True) == 0).any()


@pytest.mark.parametrize(("coarse", "groups"), [(False, 1 + 11 + 1), (True, 1 + 4 + 1)])
def test_layers_from_first_to_last(coarse: bool, groups: int) -> None:
    with torch.device("meta"):
        model = timm.create_model("cast_small", initialization="truncated_normal", fusion=True)
    layers = group_parameters(model, model.group_matcher(coarse), reverse=True)
    assert set(layers) == {name for name, _ in model.named_parameters()}
    assert set(layers.values()) == set(range(groups))
    assert layers["backbone.cls_token"] == layers["backbone.tokens.stem.projection.bias"] == 0
    second = [name for name in layers if name.startswith("backbone.stages.1.")]
    last = max(layers[name] for name in second)
    assert layers["backbone.groupings.1.bias"] == last
    assert layers["backbone.stages.2.0.norm1.weight"] == last + 1
    assert layers["backbone.fusion.projection.weight"] == groups - 2
    assert layers["head.weight"] == groups - 1


def test_weight_decay_spares_vectors_and_codes() -> None:
    model = tiny(positions="learned", num_classes=10)
    codes = {
        "backbone.cls_token",
        "backbone.tokens.positions.grid",
        "backbone.tokens.positions.cls",
    }
    assert model.no_weight_decay() == codes
    optimizer = create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.1, layer_decay=0.5)
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        spared = parameter.ndim == 1 or name in codes
        assert decays[id(parameter)] == (0 if spared else 0.1), name


def test_copies_pickles_and_checkpoints(tmp_path: object) -> None:
    model = tiny(num_classes=10).eval()
    wanted = model(images(), SUPERPIXELS)
    path = f"{tmp_path}/model.pth"
    torch.save(model.state_dict(), path)
    for again in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        tiny(num_classes=10, checkpoint_path=path).eval(),
    ):
        assert torch.equal(again(images(), SUPERPIXELS), wanted)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pretrained": True}, r"no weights for cast_tiny; use cast_exp\.load_pretrained"),
        ({"features_only": True}, "features_only: cast_tiny makes segments"),
        ({"in_chans": 1}, "in_chans=1: superpixels are of RGB"),
        ({"global_pool": "avg"}, "global_pool=avg: a CAST is classified by its class token"),
        ({"img_size": (64, 96)}, r"img_size=\(64, 96\): .* square"),
    ],
)
def test_what_it_cannot(options: dict[str, object], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        timm.create_model("cast_tiny", **options)
    with pytest.raises(UserError, match="global_pool=max"):
        TimmModel(create_model("cast_tiny")).reset_classifier(3, "max")
