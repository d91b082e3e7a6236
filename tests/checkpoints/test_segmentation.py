"""Checkpoints of fine-tuning, loaded for prediction."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from support.official import backbone_state, batch_norm, block, filled, linear, norm, spml
from support.segmentation_run import backbone, fit, scenes, task
from torch import nn

from cast_exp.checkpoints import load_segmentation_model, save_pretrained
from cast_exp.errors import UserError
from cast_exp.models import (
    MaskTransformer,
    Pooling,
    SegmentationHead,
    SegmentationModel,
    create_model,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("decoder", [SegmentationHead, partial(MaskTransformer, layers=1)])
def test_a_checkpoint_is_loaded_for_prediction(decoder: Any, tmp_path: Path) -> None:
    tuned, data = task(decoder=decoder), scenes()
    kept = ModelCheckpoint(tmp_path, filename="last")
    fit(tuned, tmp_path, kept, data=data, max_steps=2)
    loaded = load_segmentation_model(tmp_path / "last.ckpt")
    assert loaded.classes == data.semantic_classes == tuned.classes
    assert not loaded.training
    scene = next(iter(data.scenes("val")))
    predicted = loaded.predict(scene.image, scene.superpixels, scene.full_superpixels)
    assert predicted.pixels.shape == scene.truth["semantic"].shape
    assert torch.equal(
        predicted.pixels,
        tuned.eval()
        .segmentation_model.predict(scene.image, scene.superpixels, scene.full_superpixels)
        .pixels,
    )


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    save_pretrained(backbone(), tmp_path / "plain")
    with pytest.raises(UserError, match=r"plain has no head for segmentation.*voc_finetune"):
        load_segmentation_model(tmp_path / "plain")
    with pytest.raises(UserError, match="no checkpoint at"):
        load_segmentation_model(tmp_path / "nothing")


@torch.no_grad()
def test_the_official_fine_tuning_on_voc(tmp_path: Path) -> None:
    """Its classifier is convolutions over pixels, of which superpixels have the same feature."""
    official = spml(backbone_state("cast_seg"))
    official["prediction_model"] = {
        f"semantic_classifier.{name}": filled(name, *shape)
        for name, shape in {
            "0.weight": [384, 384, 1, 1],
            **batch_norm("1", 384),
            "3.weight": [21, 384, 1, 1],
            "3.bias": [21],
        }.items()
    }
    path = tmp_path / "model-29999.pth"
    torch.save(official, path)
    model = load_segmentation_model(path)
    path.unlink()
    assert (model.num_classes, model.classes) == (21, [])  # it has no names
    assert model.backbone.config is not None
    assert model.backbone.config.sampling == "interpolated"
    maps = torch.arange(16).view(1, 4, 4).repeat_interleave(16, 1).repeat_interleave(16, 2)
    segmented = model(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), maps)
    classifier = nn.Sequential(
        nn.Conv2d(384, 384, 1, bias=False), nn.BatchNorm2d(384), nn.ReLU(), nn.Conv2d(384, 21, 1)
    ).eval()
    names = official["prediction_model"].items()
    classifier.load_state_dict({k.removeprefix("semantic_classifier."): v for k, v in names})
    pixels = segmented.hierarchy.fused[0][maps[0]].movedim(-1, 0)[None]
    expected = classifier(pixels)[0].movedim(0, -1)
    torch.testing.assert_close(segmented.logits[0][maps[0]], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_official_segmenter(tmp_path: Path) -> None:
    """Its decoder takes the encoder's features; what the file has beside them is left out."""
    shapes = {
        "cls_emb": [1, 5, 384],
        **linear("proj_dec", 384, 384),
        "proj_patch": [384, 384],
        "proj_classes": [384, 384],
        **norm("decoder_norm", 384),
        **norm("mask_norm", 5),
        **block("blocks.0"),
        **block("blocks.1"),
    }
    decoder = {f"decoder.{name}": filled(name, *shape) for name, shape in shapes.items()}
    encoder = {f"encoder.{name}": value for name, value in backbone_state("cast_seg_deit").items()}
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": encoder | decoder, "n_cls": 5, "epoch": 63, "optimizer": {}}, path)
    model = load_segmentation_model(path)
    path.unlink()
    assert (model.num_classes, model.classes) == (5, [])
    assert model.backbone.config is not None
    assert model.backbone.config.levels == (320, 160, 80, 40)
    assert model.backbone.config.sampling == "interpolated"
    head = model.head
    assert isinstance(head, MaskTransformer)
    assert len(head.blocks) == 2
    for ours, theirs in {
        "class_tokens": "cls_emb",
        "project.weight": "proj_dec.weight",
        "superpixel_matrix": "proj_patch",
        "class_matrix": "proj_classes",
        "norm.bias": "decoder_norm.bias",
        "score_norm.weight": "mask_norm.weight",
        "blocks.1.mlp.fc2.weight": "blocks.1.mlp.fc2.weight",
    }.items():
        assert torch.equal(head.state_dict()[ours], decoder[f"decoder.{theirs}"]), ours


def test_the_official_segmenter_does_not_mask_in_its_decoder() -> None:
    """With compat=official, label 3, which owns no pixel, is a token of the decoder as well."""
    maps = torch.arange(16).view(1, 4, 4).repeat_interleave(8, 1).repeat_interleave(8, 2)
    maps[maps == 3] = 2
    hidden = []
    for mask_empty in (True, False):
        model = SegmentationModel(
            create_model(
                "cast_tiny",
                fusion=True,
                sampling="interpolated",
                image_size=32,
                pooling=Pooling((8, 4)),
                mask_empty=mask_empty,
            ),
            MaskTransformer(96, 2),
        ).eval()
        model.head.register_forward_pre_hook(lambda _, given: hidden.append(given[1].sum().item()))
        model(torch.zeros(1, 3, 32, 32), maps)
    assert hidden == [1, 0]
