"""Figure-ground evaluation of real backbones on drawn creatures."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from support.trainers import evaluate

from cast_exp.data import SceneDataModule
from cast_exp.data.datasets import Shapes
from cast_exp.errors import UserError
from cast_exp.evaluation import FigureGround, Subject
from cast_exp.metrics import FigureGroundJaccard, head_jaccards
from cast_exp.models import Pooling, create_model
from cast_exp.superpixels import Grid, Seeds
from cast_exp.viz.layers import Layers


def shapes(superpixel=None, dataset=Shapes, **options):
    options = {"image_size": 64, "fit": "square", "workers": 0} | options
    superpixel = superpixel or Seeds(49, histogram_bins=5, iterations=4)
    dataset = partial(dataset, train=4, val=5, size=64, creatures=2)
    return SceneDataModule(dataset, superpixel, **options)


def subject(name="cast_tiny", **options):
    torch.manual_seed(0)
    if name == "cast_tiny":
        options.setdefault("pooling", Pooling((16, 8, 4, 2)))
    if name != "vit_tiny":
        options.setdefault("sampling", "interpolated")
    model = create_model(name, image_size=64, **options).eval()
    torch.nn.init.normal_(model.cls_token)
    return Subject(model)


def slow_figures(backbone, data, block, mass):
    """All on pixels: from the attention of the patch or segment under each pixel."""
    found = []
    for scene in data.scenes("val"):
        hierarchy = backbone(scene.image, scene.superpixels, attention=block)
        attention = hierarchy.attention.heads[0].double().detach().numpy()
        truth = scene.truth["instance"].astype(int)
        segments = hierarchy.segmentation(hierarchy.attention.level)[0].numpy()
        if segments.shape != truth.shape:  # the superpixels of both are the same
            segments = scene.paint(hierarchy.labels(hierarchy.attention.level)[0]).numpy()
        masks = []
        for head in attention:
            order = np.lexsort((np.arange(len(head)), head))[::-1]  # of equal ones the last first
            before = np.cumsum(head[order]) - head[order]
            masks.append(np.isin(segments, order[before < mass * head.sum()]))
        ids = sorted(set(np.unique(truth)) - {0, 255})
        if ids:
            found.append(
                np.mean(
                    [
                        max((m & (truth == i)).sum() / (m | (truth == i)).sum() for m in masks)
                        for i in ids
                    ]
                )
            )
    return np.mean(found)


@pytest.mark.parametrize(
    ("name", "options", "block"),
    [
        ("cast_tiny", {}, 2),
        ("cast_tiny", {"sampling": "interpolated", "fusion": True}, 2),
        ("vit_tiny", {}, 3),
        ("tome_tiny", {"merged": 6}, 3),
    ],
)
def test_against_pixels(tmp_path, name, options, block):
    tested, data = subject(name, **options), shapes()
    evaluation = FigureGround(data, mass=0.5, pictures=0)
    evaluation.check()
    figures = evaluate(evaluation, tested, tmp_path)
    slow = slow_figures(tested.backbone, data, block, 0.5)
    assert figures["jaccard"] == figures["jaccard_object_tokens"] == pytest.approx(slow, abs=1e-9)
    assert figures["images"] == 5
    other = evaluate(FigureGround(data, block=0, mass=0.5, pictures=0), tested, tmp_path / "other")
    assert other["jaccard"] == pytest.approx(slow_figures(tested.backbone, data, 0, 0.5), abs=1e-9)


@pytest.mark.parametrize("name", ["cast_tiny", "vit_tiny"])
def test_class_maps_are_measured_beside_instances(tmp_path, name):
    """Their figures are those of classes alone; levels are for a CAST only."""
    data = shapes(dataset=partial(Shapes, classes=1))  # both creatures are one of a class
    both = evaluate(FigureGround(data, levels=[12, 6, 3], pictures=0), subject(name), tmp_path)
    metric = FigureGroundJaccard()
    model = subject(name).backbone
    for scene in data.scenes("val"):
        hierarchy = model(
            scene.image,
            scene.superpixels,
            levels=[12, 6, 3] if name == "cast_tiny" else None,
            attention=model.figure_block,
        )
        level = hierarchy.attention.level
        segments = hierarchy.labels(level)[0][hierarchy.tokens_at(scene.full_superpixels[None])[0]]
        truth = torch.as_tensor(scene.truth["semantic"]).long()
        metric.update(head_jaccards(hierarchy.attention.heads[0].detach(), segments, truth))
    expected = {f"class_{key}": pytest.approx(float(v)) for key, v in metric.compute().items()}
    assert {key: value for key, value in both.items() if key.startswith("class_")} == expected
    assert both["class_jaccard"] != both["jaccard"]


def test_truth_of_another_size_than_the_network_sees(tmp_path):
    tested, data = subject(), shapes(fit="long_side", image_size=48)
    figures = evaluate(
        FigureGround(data, rule="union", mass_rule="pixels", pictures=1), tested, tmp_path
    )
    slow = slow_figures(tested.backbone, data, 2, 0.6)
    assert figures["jaccard_object_tokens"] == pytest.approx(slow, abs=1e-9)
    assert figures["jaccard"] == figures["jaccard_union_pixels"] != figures["jaccard_object_tokens"]
    assert evaluate(FigureGround(data), subject("vit_tiny"), tmp_path / "vit")["images"] == 5


def test_files(tmp_path):
    tested, data = subject(), shapes()
    figures = evaluate(FigureGround(data, pictures=2), tested, tmp_path)
    _, *records = map(json.loads, (tmp_path / "images.jsonl").read_text().splitlines())
    assert len(records) == 5
    per_image = [max_over_heads(record["tokens"]) for record in records]
    assert np.mean(per_image) == pytest.approx(figures["jaccard_object_tokens"])
    pictures = sorted((tmp_path / "pictures").glob("*.png"))
    assert len(pictures) == 2
    assert Image.open(pictures[0]).mode == "RGBA"
    layers = Layers.read(pictures[0].with_suffix(".npz"))
    heads = [name for name in layers.maps if name.startswith("head")]
    assert len(heads) == len(records[0]["tokens"][0])
    assert all(layers.maps[name].max() <= 1 for name in heads)


def max_over_heads(by_head):
    return np.max(by_head, axis=0)[1:].mean()


def test_goes_on_where_it_was_interrupted(tmp_path):
    tested, data = subject(), shapes()
    whole = evaluate(FigureGround(data), tested, tmp_path / "whole")
    file = tmp_path / "again" / "images.jsonl"
    file.parent.mkdir()
    lines = (tmp_path / "whole" / "images.jsonl").read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:3]) + lines[3][:20])  # killed while it wrote
    counted = CountedCalls(tested.backbone)
    assert evaluate(FigureGround(data), tested, file.parent) == whole
    assert counted.calls == 3
    assert file.read_text() == "".join(lines)
    # of other weights
    tested.backbone.cls_token.data *= -1
    assert evaluate(FigureGround(data), tested, file.parent) != whole
    assert counted.calls == 8


class CountedCalls:
    def __init__(self, module):
        self.calls = 0
        module.register_forward_pre_hook(self.count)

    def count(self, *_):
        self.calls += 1


class Classes(Shapes):
    """Without instances; the first has no object, the others have void."""

    def __getitem__(self, index):
        item = {k: v for k, v in super().__getitem__(index).items() if k != "instance"}
        item["semantic"] = np.zeros_like(item["semantic"]) if index == 0 else item["semantic"]
        item["semantic"][:, :5] = 255
        return item


def test_classes_stand_for_objects_where_there_are_no_instances(tmp_path):
    evaluation = FigureGround(shapes(dataset=Classes), pictures=1)
    evaluation.check()
    figures = evaluate(evaluation, subject(), tmp_path)
    assert (figures["images"], figures["without_object"]) == (4, 1)
    assert 0 < figures["jaccard"] < 1
    assert [path.stem for path in (tmp_path / "pictures").iterdir()] != ["00000"]
    with pytest.raises(UserError, match="none of the 5 validation images has an object"):
        evaluate(FigureGround(shapes(dataset=Nothing)), subject(), tmp_path / "nothing")


class Nothing(Shapes):
    def __getitem__(self, index):
        item = super().__getitem__(index)
        return item | {"instance": np.zeros_like(item["instance"])}


class NoBackground(Classes):
    @property
    def semantic_classes(self):
        return ["sky", "road"]

    @semantic_classes.setter
    def semantic_classes(self, names):
        pass


class NoTruth(Shapes):
    def __getitem__(self, index):
        return {k: v for k, v in super().__getitem__(index).items() if k in ("image", "label")}


@pytest.mark.parametrize(
    ("dataset", "message"),
    [(NoBackground, "none is the background"), (NoTruth, "has no semantic masks")],
)
def test_data_without_figure_or_ground_are_refused(dataset, message):
    with pytest.raises(UserError, match=message):
        FigureGround(shapes(dataset=dataset)).check()


@pytest.mark.parametrize("size", [64, 8])
def test_a_single_segment_is_the_whole_image(tmp_path, size):
    data = shapes(Grid(1), image_size=size)
    figures = evaluate(FigureGround(data, pictures=1), subject(), tmp_path)
    share = [(scene.truth["instance"] > 0).mean() for scene in data.scenes("val")]
    assert figures["jaccard_union_tokens"] == pytest.approx(np.mean(share))


def test_levels_and_blocks_of_the_call(tmp_path):
    tested, data = subject(), shapes()
    one, other = (
        evaluate(FigureGround(data, levels=levels), tested, tmp_path / str(levels[0]))
        for levels in ((16, 8, 4, 2), (24, 12, 6, 3))
    )
    assert one == evaluate(FigureGround(data), tested, tmp_path / "own") != other
    with pytest.raises(UserError, match="block 9"):
        evaluate(FigureGround(data, block=9), tested, tmp_path / "block")
