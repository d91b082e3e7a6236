"""The function that is exported, against the backbone and heads it is made of."""

import pytest
import torch
from support.classifier_run import trained
from support.commands import ROOT
from support.exported import COUNT, SIDE, cast, inputs, made
from torch.nn.functional import one_hot
from torchvision.transforms.v2.functional import normalize

from cast_exp import load_pretrained
from cast_exp.checkpoints import load_classifier
from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD
from cast_exp.errors import UserError
from cast_exp.export import Exported
from cast_exp.export.exported import difference
from cast_exp.models import SegmentationModel
from cast_exp.ops import Superpixels

RUN = ROOT / "tests" / "golden" / "run_at_d48f020.ckpt"


@torch.no_grad()
def test_a_segmenter_takes_images_that_are_not_normalised() -> None:
    model, (image, superpixels) = made("segmenter"), inputs(2)
    outputs = model(image, superpixels)
    segmenter = SegmentationModel(model.backbone, model.head).eval()
    normalised = normalize(image, IMAGENET_MEAN, IMAGENET_STD)
    expected = segmenter(normalised, Superpixels.of(superpixels, COUNT), last_grouping=True)
    levels = [f"{name}_{level}" for level in (1, 2) for name in ("tokens", "padding")]
    more = [f"{name}_{level}" for level in (1, 2) for name in ("labels", "segmentation")]
    names = {"cls", "logits", "fused", "tokens_0", "padding_0", *levels, *more}
    assert outputs.keys() == names
    torch.testing.assert_close(outputs["logits"], expected.logits)
    for level in (1, 2):
        assert torch.equal(outputs[f"labels_{level}"], expected.hierarchy.labels(level))
        by_pixel = outputs[f"labels_{level}"].gather(1, superpixels.flatten(1))
        assert torch.equal(outputs[f"segmentation_{level}"].flatten(1), by_pixel)
    present = one_hot(superpixels.flatten(1), COUNT).any(1)
    assert torch.equal(outputs["padding_0"], ~present)


@torch.no_grad()
def test_a_vit_says_which_patch_a_pixel_is_in() -> None:
    outputs = made("vit")(*inputs(1))
    assert outputs.keys() == {"cls", "tokens_0", "padding_0", "segmentation_0"}
    assert outputs["segmentation_0"][0, ::16, ::16].tolist() == [[0, 1], [2, 3], [4, 5]]


@torch.no_grad()
def test_a_classifier_is_loaded_with_its_backbone(tmp_path) -> None:
    trained(tmp_path)
    model = Exported.load(tmp_path / "last.ckpt", "average", count=16)
    side = model.size[0]
    image, superpixels = torch.rand(2, 3, side, side), model.example(2)[1]
    classifier = load_classifier(tmp_path / "last.ckpt", "average")
    backbone = load_pretrained(tmp_path / "last.ckpt", weights="average").eval()
    hierarchy = backbone(normalize(image, IMAGENET_MEAN, IMAGENET_STD), superpixels)
    logits = model(image, superpixels)["logits"]
    torch.testing.assert_close(logits, classifier.layer(hierarchy.fused_mean()))
    about = model.metadata()
    assert about["classes"] == list(classifier.classes)
    assert len(about["classes"]) == 8


def test_metadata() -> None:
    about = Exported.load(RUN, count=20).metadata()
    assert about | {"cast_exp": ""} == {
        "model": "cast",
        "image_size": [32, 32],
        "superpixels": 20,
        "levels": [8, 4],
        "classes": [],
        "normalised_inside": True,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "cast_exp": "",
    }


@pytest.mark.parametrize(("size", "count"), [((32, 32), 16), (SIDE, 7), ((5, 40), 30)])
def test_examples_have_labels_below_the_count(size, count) -> None:
    image, superpixels = Exported(cast(), size, count, levels=(4, 2)).example(2)
    assert image.shape == (2, 3, *size)
    assert superpixels.shape == (2, *size)
    assert superpixels.min() == 0
    assert superpixels.max() < count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 5}, "5 superpixels cannot make 6 segments; set --superpixels higher"),
        ({"count": 5000}, "5000 superpixels do not fit into 48 x 32 pixels"),
        ({"levels": (6, 4, 2)}, "3 levels were asked for, but the model has 2 groupings"),
        ({"levels": (4, 6)}, "every level must have fewer segments"),
    ],
)
def test_mistakes(options, message) -> None:
    with pytest.raises(UserError, match=message):
        Exported(cast(), SIDE, **({"count": COUNT} | options))


def test_difference() -> None:
    expected = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([1, 2])}
    assert difference(expected, dict(expected)) == 0
    assert difference(expected, expected | {"a": torch.tensor([1.0, 2.5])}) == 0.5
    for other in (
        {"b": torch.tensor([1, 3])},
        {"b": torch.tensor([1, 2, 3])},
        {"c": torch.ones(1)},
    ):
        assert difference(expected, expected | other) == torch.inf
    assert not difference(expected, expected | {"a": torch.tensor([1.0, torch.nan])}) <= 1
