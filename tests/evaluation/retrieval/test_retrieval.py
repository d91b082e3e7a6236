"""The whole of segment retrieval against the way by pixels, and what it does in odd cases."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from support.retrieval import scenes, subject
from support.trainers import evaluate
from torch.nn import functional as F
from torchmetrics.classification import MulticlassJaccardIndex

from cast_exp.data.datasets import Shapes
from cast_exp.errors import UserError
from cast_exp.evaluation.retrieval import Retrieval, memory, retrieval
from cast_exp.evaluation.subject import Subject
from cast_exp.metrics.boundary import BoundaryF
from cast_exp.superpixels import Grid
from cast_exp.viz import semantic_sheet
from cast_exp.viz.layers import Layers


@torch.no_grad()
def by_pixels(judged, data, level, neighbours, fused=False):
    """mIoU and boundary F by features of pixels, segment after segment, and a full sort."""

    def segments(scene):
        hierarchy = judged.backbone(scene.image, scene.superpixels)
        features = hierarchy.fused[0] if fused else judged.projector(hierarchy.fused[0])
        pixels = F.normalize(features, dim=1)[scene.full_superpixels]  # (H, W, D)
        ids = scene.paint(hierarchy.labels(level)[0])
        truth = np.asarray(scene.truth["semantic"])
        for segment in ids.unique():
            mask = ids == segment
            yield mask, F.normalize(pixels[mask].double().sum(0), dim=0).numpy(), truth[mask]

    stored = [
        (prototype, np.bincount(truth, minlength=256).argmax())
        for scene in data.scenes("train")
        for _, prototype, truth in segments(scene)
    ]
    stored = [(prototype, label) for prototype, label in stored if label != 255]
    prototypes = np.stack([prototype for prototype, _ in stored])
    labels = np.array([label for _, label in stored])
    metric = MulticlassJaccardIndex(data.num_classes, average="macro", ignore_index=255)
    boundaries = BoundaryF(data.num_classes)
    for scene in data.scenes("val"):
        truth = torch.from_numpy(np.asarray(scene.truth["semantic"], np.int64))
        painted = torch.full_like(truth, -1)
        for mask, prototype, _ in segments(scene):
            nearest = np.argsort(-(prototypes @ prototype), kind="stable")[:neighbours]
            painted[mask] = int(np.bincount(labels[nearest]).argmax())
        metric.update(painted, truth)
        boundaries.update(painted, truth)
    return [float(metric.compute()), float(boundaries.compute()["boundary_f"])]


@pytest.mark.parametrize(("level", "neighbours"), [(0, 20), (1, 1), (1, 5), (2, 3)])
def test_figures_are_those_of_the_way_by_pixels(level, neighbours, tmp_path, monkeypatch):
    monkeypatch.setattr(retrieval, "_IMAGES", 3)
    data, judged = scenes(), subject()
    found = evaluate(Retrieval(data, level, neighbours), judged, tmp_path)
    expected = by_pixels(judged, data, level, neighbours)
    assert [found["miou"], found["boundary_f"]] == pytest.approx(expected, abs=1e-6)
    assert 0 < found["miou"] <= found["ceiling"] <= found["ceiling/level0"] <= 1


def test_all_levels_in_one_pass_are_those_of_each(tmp_path):
    data, judged = scenes(), subject()
    together = evaluate(Retrieval(data, "all", 3), judged, tmp_path / "all")
    for level in range(3):
        alone = evaluate(Retrieval(data, level, 3), judged, tmp_path / str(level))
        for name in set(alone) - {"ceiling/level0"}:
            assert together[f"{name}/level{level}"] == alone[name]
    coarsest = evaluate(Retrieval(data, None, 3), judged, tmp_path / "coarsest")
    assert {name: together[name] for name in coarsest} == coarsest
    with open(tmp_path / "all" / "classes.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == data.semantic_classes
    ious = np.array([float(row["iou/level1"]) for row in rows])
    assert np.nanmean(ious) == pytest.approx(together["miou/level1"])


def test_the_first_images_are_drawn_with_every_level_and_the_prediction(tmp_path, monkeypatch):
    drawn = []

    def sheet(pictures, classes):
        drawn.extend(pictures)
        return semantic_sheet(pictures, classes)

    monkeypatch.setattr(retrieval, "semantic_sheet", sheet)
    data, judged = scenes(), subject()
    evaluate(Retrieval(data, 1, 3, pictures=2), judged, tmp_path)
    sheets = sorted((tmp_path / "pictures").glob("*.png"))
    assert [path.name for path in sheets] == ["00000.png", "00001.png"]
    layers = Layers.read(sheets[0].with_suffix(".npz"))
    assert [*layers.maps] == ["level 1", "level 2", "prediction", "truth"]
    np.testing.assert_array_equal(layers.maps["prediction"], drawn[0].prediction)
    assert Image.open(sheets[0]).width > 6 * 384  # three levels, image, prediction, truth, errors
    for picture, scene in zip(drawn, data.scenes("val"), strict=False):
        raw = np.asarray(data.raw("val")[scene.index]["image"], int)
        assert picture.image.shape == raw.shape
        assert np.abs(picture.image - raw).mean() < 6  # seen by the network at another size
        with torch.no_grad():
            hierarchy = judged.backbone(scene.image, scene.superpixels)
        for level, labels in enumerate(picture.levels):
            expected = scene.paint(hierarchy.labels(level)[0]).flatten()
            pairs = {*zip(labels.flatten().tolist(), expected.tolist(), strict=True)}
            assert len(pairs) == len(expected.unique())
        segments = np.unique(
            np.stack([picture.levels[1], picture.prediction]).reshape(2, -1), axis=1
        )
        assert segments.shape[1] == len(np.unique(picture.levels[1]))  # one class in each segment
        np.testing.assert_array_equal(picture.truth, scene.truth["semantic"])
    assert len(drawn) == 2


def test_features_without_the_projector(tmp_path, caplog):
    caplog.set_level("INFO")
    data, judged = scenes(), subject()
    fused = evaluate(Retrieval(data, 1, 3, embedding="fused"), judged, tmp_path / "fused")
    expected = by_pixels(judged, data, 1, 3, fused=True)
    assert [fused["miou"], fused["boundary_f"]] == pytest.approx(expected, abs=1e-6)
    bare = Subject(judged.backbone)
    assert "no projector" not in caplog.text
    assert evaluate(Retrieval(data, 1, 3), bare, tmp_path / "auto") == fused
    assert "no projector" in caplog.text
    with pytest.raises(UserError, match="no projector"):
        evaluate(Retrieval(data, embedding="projector"), bare, tmp_path)


def test_an_interrupted_evaluation_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "IMAGES_PER_FILE", 2)
    monkeypatch.setattr(retrieval, "_IMAGES", 2)
    data, judged = scenes(), subject()
    straight = evaluate(Retrieval(data, "all", 3), judged, tmp_path / "straight")
    encoded = []

    class Cut(retrieval.SegmentEncoder):
        left = 5  # then, at the end of the memory and three queries, 6

        def __call__(self, scene):
            if not Cut.left:
                raise KeyboardInterrupt
            Cut.left -= 1
            encoded.append(scene.index)
            return super().__call__(scene)

    monkeypatch.setattr(retrieval, "SegmentEncoder", Cut)
    evaluation, folder = Retrieval(data, "all", 3), tmp_path / "run"
    with pytest.raises(SystemExit):  # what Lightning makes of Ctrl-C
        evaluate(evaluation, judged, folder)
    Cut.left = 6
    with pytest.raises(SystemExit):
        evaluate(evaluation, judged, folder)
    Cut.left = 100
    found = evaluate(evaluation, judged, folder)
    # The fifth image had not been written, nor the third query: two are answered at a time.
    assert encoded == [0, 1, 2, 3, 4, *(4, 5, 6), *(0, 1, 2), *(2, 3)]
    assert found == pytest.approx(straight, abs=1e-12)
    encoded.clear()
    assert evaluate(evaluation, judged, folder) == found
    assert encoded == []
    files = sorted(path.name for path in (folder / "memory").iterdir())
    assert files == [f"{number:05d}.safetensors" for number in range(4)]


def test_a_memory_of_something_else_is_not_used(tmp_path, caplog):
    data, judged = scenes(), subject()
    evaluate(Retrieval(data), judged, tmp_path)
    other = subject()
    with torch.no_grad():
        other.projector[0].weight.add_(torch.randn_like(other.projector[0].weight))
    found = evaluate(Retrieval(data), other, tmp_path)
    assert "another backbone or other data" in caplog.text
    assert found == evaluate(Retrieval(data), other, tmp_path / "fresh")
    fewer = evaluate(Retrieval(data, memory=2), other, tmp_path)
    assert fewer == evaluate(Retrieval(data, memory=2), other, tmp_path / "fewer")


@pytest.mark.parametrize(
    "changes", [{"neighbours": 1}, {"boundary_tolerance": 0.2}, {"queries": 2}]
)
def test_answers_to_other_questions_are_not_used(changes, tmp_path):
    data, judged = scenes(), subject()
    evaluate(Retrieval(data, neighbours=3), judged, tmp_path)
    other = Retrieval(data, **({"neighbours": 3} | changes))
    assert evaluate(other, judged, tmp_path) == evaluate(other, judged, tmp_path / "fresh")


@pytest.mark.parametrize("kept", ["memory", "queries"])
def test_a_damaged_file_is_told_and_made_anew(kept, tmp_path, caplog):
    data, judged = scenes(), subject()
    whole = evaluate(Retrieval(data, "all", 3), judged, tmp_path)
    path = tmp_path / kept / "00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert evaluate(Retrieval(data, "all", 3), judged, tmp_path) == whole
    assert caplog.text.count(f"{path} is damaged (checksum of") == 1
    assert path.read_bytes() != bytes(content)


def test_images_of_a_single_segment(tmp_path):
    class Plain(Shapes):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            item["image"].paste((90, 90, 90), (0, 0, self.size, self.size))
            item["semantic"] = np.full_like(item["semantic"], 2)
            return item

    class One(Grid):
        def __call__(self, images):
            return torch.zeros(len(images), *images.shape[-2:], dtype=torch.long)

    data = scenes(Plain)
    data.superpixel = One(1)
    found = evaluate(Retrieval(data, "all"), subject(), tmp_path)
    assert found["miou"] == found["accuracy"] == found["ceiling"] == found["miou/level0"] == 1


def test_no_training_segment_with_a_class(tmp_path):
    class Void(Shapes):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return item | {"semantic": np.full_like(item["semantic"], 255)}

    with pytest.raises(UserError, match="the memory has no segment with a class"):
        evaluate(Retrieval(scenes(Void)), subject(), tmp_path)


def test_no_semantic_truth():
    class Bare(Shapes):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return {"image": item["image"], "label": item["label"]}

    with pytest.raises(UserError, match="no semantic masks"):
        Retrieval(scenes(Bare)).check()
