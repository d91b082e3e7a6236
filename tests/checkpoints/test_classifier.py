"""Classifiers in our checkpoints, in official layouts at the shapes of CAST-S, and in others'."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.official import LAYOUTS, backbone_shapes, blank, deit, filled, linear_probe, prefixed
from support.stored import own, saved
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cast_exp.checkpoints import load_classifier
from cast_exp.checkpoints.classifier import CLASSIFIER, Classifier
from cast_exp.errors import UserError

HEAD = {"weight": filled("head.weight", 1000, 384), "bias": filled("head.bias", 1000)}


def holds(found: Classifier | None, expected: dict[str, Tensor]) -> bool:
    assert found is not None
    assert not found.layer.training
    state = found.layer.state_dict()
    return all(torch.equal(state[name], value) for name, value in expected.items())


def test_official_ones(tmp_path: Path) -> None:
    state = blank(backbone_shapes("cast_deit"))
    supervised: dict[str, Any] = deit(state)
    supervised["model"] |= prefixed("head.", HEAD)
    average = {name: value + 1 for name, value in HEAD.items()}
    supervised["model_ema"] = state | prefixed("head.", average)
    torch.save(supervised, tmp_path / "best_checkpoint.pth")
    assert holds(load_classifier(tmp_path / "best_checkpoint.pth"), HEAD)
    assert holds(load_classifier(tmp_path / "best_checkpoint.pth", "average"), average)
    probed: dict[str, Any] = linear_probe(blank(backbone_shapes("cast")))
    probed["state_dict"] |= prefixed("module.head.", HEAD)
    torch.save(probed, tmp_path / "model_best.pth.tar")
    assert holds(load_classifier(tmp_path / "model_best.pth.tar"), HEAD)


@pytest.mark.parametrize("layout", ["moco", "spml", "retrieval"])
def test_other_official_layouts_have_none(layout: str, tmp_path: Path) -> None:
    wrap, variant = LAYOUTS[layout]
    torch.save(wrap(blank(backbone_shapes(variant))), tmp_path / "checkpoint.pth")
    assert load_classifier(tmp_path / "checkpoint.pth") is None


def test_those_of_others_but_not_one_of_the_two_of_a_distilled_deit(tmp_path: Path) -> None:
    vit = VisionTransformer(img_size=32, embed_dim=24, depth=1, num_heads=1, num_classes=5)
    torch.save(vit.state_dict(), tmp_path / "vit.pth")
    assert holds(load_classifier(tmp_path / "vit.pth"), vit.head.state_dict())
    torch.save(
        vit.state_dict() | {"head_dist.weight": vit.head.weight.detach()}, tmp_path / "two.pth"
    )
    assert load_classifier(tmp_path / "two.pth") is None


def test_ours_with_and_without_a_word_on_which_it_is(tmp_path: Path) -> None:
    first, second = (nn.Linear(24, 3).state_dict() for _ in range(2))
    checkpoint, _ = own()
    state: dict[str, Tensor] = checkpoint["state_dict"]
    state |= prefixed("heads.0.", first)
    assert holds(load_classifier(saved(tmp_path, checkpoint)), first)
    state |= prefixed("heads.1.", second)
    assert load_classifier(saved(tmp_path, checkpoint)) is None
    described = {"weights": "heads.1.", "readout": "cls", "classes": ["a", "b", "c"]}
    found = load_classifier(saved(tmp_path, checkpoint | {CLASSIFIER: described}))
    assert holds(found, second)
    assert found is not None
    assert (found.readout, found.classes) == ("cls", ("a", "b", "c"))
    assert found.described("heads.1.") == described
    assert load_classifier(saved(tmp_path, checkpoint | {CLASSIFIER: described}), "average") is None


@pytest.mark.parametrize("described", [7, {}, {"weights": "head.", "classes": [1]}, [[]]])
def test_a_strange_description_is_refused(described: Any, tmp_path: Path) -> None:
    checkpoint, _ = own()
    with pytest.raises(UserError, match="describe its classifier as it should; it is damaged"):
        load_classifier(saved(tmp_path, checkpoint | {CLASSIFIER: described}))
