"""Classes of segments are judged on pixels."""

import csv
from pathlib import Path

import pytest
import torch
from support.retrieval import scenes, subject
from support.trainers import evaluate
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from cast_exp.errors import UserError
from cast_exp.evaluation import SegmentFeatureEvaluation, Subject
from cast_exp.evaluation.segment_features import LevelChoice, SegmentFeatures
from cast_exp.models import create_model


class FirstFeature(SegmentFeatureEvaluation):
    """Takes a class by the first number of a segment's feature; keeps what it was given."""

    def predict(self, train: SegmentFeatures, val: SegmentFeatures) -> Tensor:
        self.scenes.seen = (train, val)  # type: ignore[attr-defined]
        return chosen(val.features)


def chosen(features: Tensor) -> Tensor:
    return (features[..., 0] * 1000).long() % 4


@torch.no_grad()
@pytest.mark.parametrize(("level", "number"), [(0, 0), ("finest", 1), (None, 2)])
def test_figures_are_those_of_painted_pixels(
    level: LevelChoice, number: int, tmp_path: Path
) -> None:
    data, judged = scenes(), subject()
    iou = MulticlassJaccardIndex(4, ignore_index=255)
    each = MulticlassJaccardIndex(4, average=None, ignore_index=255)
    accuracy = MulticlassAccuracy(4, average="micro", ignore_index=255)
    for scene in data.scenes("val"):
        hierarchy = judged.backbone(scene.image, scene.superpixels, sampling="interpolated")
        pixels = F.normalize(scene.paint(hierarchy.fused[0]), dim=-1)
        segments = scene.paint(hierarchy.labels(number)[0])
        predicted = torch.zeros_like(segments)
        for segment in segments.unique():
            inside = segments == segment
            predicted[inside] = chosen(F.normalize(pixels[inside].sum(0), dim=0))
        truth = torch.as_tensor(scene.truth["semantic"]).long()
        for metric in (iou, each, accuracy):
            metric.update(predicted, truth)
    found = evaluate(FirstFeature(data, level), judged, tmp_path)
    assert found["miou"] == pytest.approx(float(iou.compute()))
    assert found["accuracy"] == pytest.approx(float(accuracy.compute()))
    assert found["miou"] < found["ceiling"] <= 1
    with open(tmp_path / "per_class.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == data.semantic_classes
    assert [float(row["iou"]) for row in rows] == pytest.approx(each.compute().tolist())


def test_training_images_can_be_limited(tmp_path: Path) -> None:
    data, sizes = scenes(), []
    for limit in (2, None):
        evaluate(FirstFeature(data, limit=limit), subject(), tmp_path)
        train, val = data.seen  # type: ignore[attr-defined]
        sizes.append(int(train.counts.sum()))
        assert len(train.features) == len(train.counts)
        assert int(val.counts.sum()) == sum(
            int((torch.as_tensor(scene.truth["semantic"]) != 255).sum())
            for scene in data.scenes("val")
        )
    assert 0 < sizes[0] < sizes[1]


def test_what_cannot_be_done_is_said() -> None:
    FirstFeature(scenes()).check(subject())
    with pytest.raises(UserError, match="level=3: the backbone has levels 0 to 2"):
        FirstFeature(scenes(), 3).check(subject())
    with pytest.raises(UserError, match="no fusion block"):
        FirstFeature(scenes()).check(Subject(create_model("cast_tiny")))
    with pytest.raises(UserError, match="there is no training image, or none can be read"):
        SegmentFeatures.joined([{}, {}], "training")
