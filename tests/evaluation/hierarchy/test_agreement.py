"""The evaluation of hierarchies on drawn creatures: figures, baselines, files, interruptions."""

import csv
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.trainers import evaluate
from timm.models.vision_transformer import VisionTransformer

from cast_exp.checkpoints import save_pretrained
from cast_exp.data import SceneDataModule
from cast_exp.data.datasets import Shapes
from cast_exp.errors import UserError
from cast_exp.evaluation import HierarchyEvaluation, Subject
from cast_exp.evaluation.hierarchy import agreement
from cast_exp.metrics import HierarchyMetrics
from cast_exp.models import Pooling, ViT, create_model
from cast_exp.models.grouping import KMedoids
from cast_exp.superpixels import Grid, Seeds
from cast_exp.viz import comparison_sheet
from cast_exp.viz.layers import Layers

LEVELS = (12, 6, 3)


def scenes(**options: Any) -> SceneDataModule:
    dataset = partial(Shapes, train=3, val=5, size=48, creatures=2)
    method = Seeds(36, histogram_bins=5, iterations=4)
    settings: dict[str, Any] = {"image_size": 48, "workers": 0} | options
    return SceneDataModule(
        settings.pop("dataset", dataset), settings.pop("method", method), **settings
    )


def evaluation(data: SceneDataModule | None = None, **options: Any) -> HierarchyEvaluation:
    settings: dict[str, Any] = {"levels": LEVELS, "pictures": 1} | options
    return HierarchyEvaluation(data or scenes(), **settings)


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    torch.manual_seed(0)
    sampling = getattr(request, "param", "interpolated")
    return Subject(create_model("cast_tiny", sampling=sampling, image_size=48).eval())


@pytest.fixture
def vit(tmp_path: Path) -> str:
    torch.manual_seed(1)
    save_pretrained(create_model("vit_tiny", image_size=48), tmp_path / "vit")
    return str(tmp_path / "vit")


@torch.no_grad()
def test_a_vit_sees_whole_patches(subject, tmp_path, monkeypatch):
    model = VisionTransformer(img_size=56, patch_size=14, embed_dim=64, depth=1, num_heads=1)
    torch.save(model.state_dict(), tmp_path / "vit.pth")
    seen = []
    encode = ViT.encode
    monkeypatch.setattr(
        ViT, "encode", lambda self, x, *rest: (seen.append(x.shape), encode(self, x, *rest))[1]
    )
    figures = evaluate(evaluation(vit=str(tmp_path / "vit.pth")), subject, tmp_path)
    assert {shape[-2:] for shape in seen} == {(42, 42)}  # of 48 x 48
    assert figures["vit/covering/12"] > 0


@pytest.mark.parametrize("subject", ["nearest", "interpolated"], indirect=True)
@torch.no_grad()
@pytest.mark.parametrize("one_to_one", [False, True])
def test_figures_are_those_of_the_segmentations_of_each_pixel(subject, tmp_path, one_to_one):
    if one_to_one:
        pytest.importorskip("scipy.sparse.csgraph")
    data = scenes()
    metric = HierarchyMetrics([str(level) for level in LEVELS], one_to_one=one_to_one)
    numbers = []
    for scene in data.scenes("val"):
        encoded = subject.backbone(scene.image, scene.superpixels, levels=LEVELS)
        maps = [encoded.segmentation(level)[0] for level in (1, 2, 3)]
        metric.update(maps, scene.truth["regions"], scene.truth["semantic"])
        numbers.append([len(np.unique(labels)) for labels in maps])
    measured = evaluation(data, baselines=[], one_to_one=one_to_one)
    figures = evaluate(measured, subject, tmp_path)
    assert ("bsds_ap" in figures) == one_to_one
    expected = {name: float(value) for name, value in metric.compute().items()}
    means = dict(zip(LEVELS, np.mean(numbers, 0), strict=True))
    expected |= {f"segments/{level}": mean for level, mean in means.items()}
    assert figures == pytest.approx(expected, nan_ok=True)


@pytest.fixture
def kmedoids(tmp_path: Path) -> str:
    torch.manual_seed(2)
    pooling = Pooling(LEVELS, partial(KMedoids))
    save_pretrained(create_model("cast_tiny", image_size=48, pooling=pooling), tmp_path / "km")
    return str(tmp_path / "km")


def test_a_model_trained_with_kmedoids_segments_by_itself(subject, kmedoids, vit, tmp_path):
    """As it would on its own; it is not the clustering of the first model's tokens."""
    beside = evaluate(evaluation(trained_kmedoids=kmedoids), subject, tmp_path / "beside")
    alone = evaluate(evaluation(baselines=[]), Subject.load(kmedoids), tmp_path / "alone")
    assert {
        f"trained_kmedoids/{name}": pytest.approx(x, nan_ok=True) for name, x in alone.items()
    } == {name: x for name, x in beside.items() if name.startswith("trained_kmedoids/")}
    assert beside["trained_kmedoids/covering/12"] != beside["kmedoids/covering/12"]
    with pytest.raises(UserError, match=r"was not trained with K-Medoids; name .*model=kmedoids"):
        evaluation(trained_kmedoids=vit).check()


def test_every_method_is_measured_on_nested_levels(subject, vit, tmp_path, monkeypatch):
    seen = []

    def look(image, regions, found, seed):
        seen.append(found)
        return comparison_sheet(image, regions, found, seed)

    monkeypatch.setattr(agreement, "comparison_sheet", look)
    figures = evaluate(evaluation(vit=vit, pictures=2, splits=["train"]), subject, tmp_path)
    assert len(seen) == 2
    for found in seen:
        assert list(found) == [
            *("model", "K-Means of its tokens", "K-Medoids of its tokens"),
            *("merged by colour", "ViT, K-Means"),
        ]
        for name, levels in found.items():
            for count, labels in zip(LEVELS, levels, strict=True):
                assert labels.shape == (48, 48)
                assert len(np.unique(labels)) <= count
                assert len(np.unique(labels)) == count or name in ("model", "ViT, K-Means")
            for fine, coarse in pairwise(levels):
                pairs = np.unique([fine.ravel(), coarse.ravel()], axis=1)
                assert pairs.shape[1] == len(np.unique(fine))
    for name in ("covering/12", "kmeans/covering/6", "color/covering/3", "vit/covering/12"):
        assert 0 < figures[name] < 1


def test_merging_by_colour_finds_what_only_differs_in_colour(subject, tmp_path):
    figures = evaluate(evaluation(), subject, tmp_path)
    assert figures["color/covering/6"] > figures["covering/6"] + 0.1


def test_tables_curves_and_pictures_are_written(subject, tmp_path):
    figures = evaluate(evaluation(), subject, tmp_path)
    with (tmp_path / "levels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], int(row["level"])) for row in rows] == [
        (method, level) for method in ("model", "kmeans", "kmedoids", "color") for level in LEVELS
    ]
    for row in rows:
        prefix = "" if row["method"] == "model" else f"{row['method']}/"
        for name in row.keys() - {"method", "level"}:
            assert float(row[name]) == pytest.approx(
                figures[f"{prefix}{name}/{row['level']}"], abs=1e-4
            )
    text = (tmp_path / "levels.md").read_text()
    assert "| kmedoids | 6 |" in text
    assert "| 6.0 |\n" in text
    assert "lower the better: vi" in text
    (picture,) = (tmp_path / "pictures").glob("*.png")
    assert Image.open(picture).width > 5 * 200
    layers = Layers.read(picture.with_suffix(".npz"))
    assert "people" in layers.maps
    assert any(name.startswith("level ") for name in layers.maps)
    assert Image.open(tmp_path / "curves.png").mode == "RGBA"  # on light and on dark


def test_an_interrupted_evaluation_goes_on_with_equal_figures(subject, tmp_path):
    whole = evaluate(evaluation(), subject, tmp_path / "whole")
    calls = []

    class Stopping(torch.nn.Module):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            if len(calls) == 2:
                calls.append("stop")
                raise KeyboardInterrupt
            calls.append("image")
            return subject.backbone(*args, **kwargs)

        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            return subject.backbone.state_dict(*args, **kwargs)

    stopping = Subject(Stopping())
    with pytest.raises(SystemExit):  # what Lightning makes of Ctrl-C
        evaluate(evaluation(), stopping, tmp_path / "parts")
    parts = evaluate(evaluation(), stopping, tmp_path / "parts")
    assert calls.count("image") == 5
    assert parts == pytest.approx(whole, nan_ok=True)


def test_figures_of_other_weights_are_not_gone_on_with(subject, tmp_path, caplog):
    evaluate(evaluation(baselines=[]), subject, tmp_path)
    torch.manual_seed(5)
    other = Subject(create_model("cast_tiny", sampling="interpolated", image_size=48).eval())
    again = evaluate(evaluation(baselines=[]), other, tmp_path)
    assert "measured anew" in caplog.text
    assert again == pytest.approx(
        evaluate(evaluation(baselines=[]), other, tmp_path / "x"), nan_ok=True
    )


def test_levels_finer_than_the_superpixels_are_the_superpixels(subject, tmp_path):
    data = scenes(method=Grid(9))
    figures = evaluate(evaluation(data, levels=(64, 8, 1)), subject, tmp_path)
    for prefix in ("", "kmeans/", "kmedoids/", "color/"):
        assert figures[f"{prefix}segments/64"] <= 9
        assert figures[f"{prefix}segments/1"] == 1


def test_an_image_of_one_superpixel_is_one_segment(subject, tmp_path):
    figures = evaluate(evaluation(scenes(method=Grid(1)), levels=(4, 2)), subject, tmp_path)
    assert figures["segments/4"] == figures["color/segments/2"] == 1
    assert figures["covering/4"] == pytest.approx(figures["kmeans/covering/2"])


def test_levels_of_the_backbone_itself(subject, tmp_path):
    pooling = Pooling((10, 5, 2))
    own = Subject(create_model("cast_tiny", pooling=pooling, sampling="interpolated").eval())
    other = evaluation(levels=(10, 5, 2))
    figures = evaluate(evaluation(levels=None), own, tmp_path / "own")
    assert figures == pytest.approx(evaluate(other, own, tmp_path / "given"), nan_ok=True)
    assert "covering/10" in figures
    for levels in ((), (0.5, 0.2)):
        fractions = Subject(create_model("cast_tiny", pooling=Pooling(levels)))
        with pytest.raises(UserError, match=r"levels=null stands for the model's own, but it has"):
            evaluation(levels=None).check(fractions)


def test_mistakes_are_said(subject, tmp_path, monkeypatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "scipy", None)
        evaluation().check()
        with pytest.raises(UserError, match=r"^evaluation.hierarchy.one_to_one=true needs scipy"):
            evaluation(one_to_one=True).check()
    with pytest.raises(UserError, match="5 levels were asked for"):
        evaluate(evaluation(levels=(9, 8, 7, 6, 5)), subject, tmp_path)
    with pytest.raises(UserError, match=r"^evaluation.hierarchy.levels=\[8, 8\]: every level"):
        evaluation(levels=(8, 8))
    save_pretrained(create_model("cast_tiny"), tmp_path / "cast")
    with pytest.raises(UserError, match="is a CAST; name a ViT"):
        evaluation(vit=str(tmp_path / "cast")).check()
    with pytest.raises(UserError, match=r"a ViT groups nothing.* evaluation.hierarchy.vit=CKPT"):
        evaluation().check(Subject(create_model("vit_tiny")))

    class Bare(Shapes):
        def __getitem__(self, index: int) -> dict[str, Any]:
            return {name: super(Bare, self).__getitem__(index)[name] for name in ("image", "label")}

    with pytest.raises(UserError, match="has no regions drawn by annotators"):
        evaluation(scenes(dataset=partial(Bare, val=2, size=48))).check()
