"""Segments of scenes and what stands for them, against features of pixels."""

from collections.abc import Sequence

import pytest
import torch
from support.retrieval import scenes, subject
from torch.nn import functional as F

from cast_exp.errors import UserError
from cast_exp.evaluation import Subject
from cast_exp.evaluation.retrieval.segments import LevelChoice, SegmentEncoder, Segments
from cast_exp.models import Pooling, create_model


def parts() -> Segments:
    """Three parts, of which the coarser level joins the first and the last."""
    sums = torch.tensor([[3.0, 0], [0, 2], [0, 4]])
    labels = {0: torch.arange(3), 1: torch.tensor([0, 1, 0])}
    return Segments(torch.tensor([[0, 0, 0], [1, 1, 2], [2, 2, 2]]), sums, labels, [1])


def test_sums_over_parts_are_those_over_pixels() -> None:
    segments = parts()
    assert segments.total(segments.sums, 1).tolist() == [[3, 4], [0, 2]]
    torch.testing.assert_close(segments.prototypes(1), torch.tensor([[0.6, 0.8], [0, 1]]))
    assert segments.paint(torch.tensor([7, 9]), 1).tolist() == [[7, 7, 7], [9, 9, 7], [7, 7, 7]]
    semantic = torch.tensor([[0, 1, 255], [1, 1, 1], [255, 255, 0]])
    assert segments.counts(semantic, 2).tolist() == [[1, 1, 1], [0, 2, 0], [1, 1, 2]]


@torch.no_grad()
@pytest.mark.parametrize("embedding", ["auto", "fused"])
def test_segments_of_a_hierarchy_are_those_of_its_pixels(embedding: str) -> None:
    judged = subject()
    scene = next(iter(scenes().scenes("val")))
    segments = SegmentEncoder(judged, "all", embedding, 9)(scene)
    hierarchy = judged.backbone(scene.image, scene.superpixels)
    features = hierarchy.fused[0] if embedding == "fused" else judged.projector(hierarchy.fused[0])
    pixels = F.normalize(features, dim=1)[scene.full_superpixels].double()
    assert list(segments.chosen) == [0, 1, 2]
    for level in segments.chosen:
        painted = segments.paint(torch.arange(int(segments.labels[level].max()) + 1), level)
        expected = scene.paint(hierarchy.labels(level)[0])
        pairs = torch.stack([painted, expected]).flatten(1).unique(dim=1)
        assert pairs.size(1) == len(expected.unique()) == len(painted.unique())
        for number, prototype in enumerate(segments.prototypes(level)):
            direction = F.normalize(pixels[painted == number].sum(0), dim=0)
            torch.testing.assert_close(prototype.double(), direction, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("level", "depth", "expected"),
    [
        (0, 3, [0]),
        (2, 3, [2]),
        (None, 3, [3]),
        ("all", 2, [0, 1, 2]),
        ("finest", 3, [1]),
        ("finest", 0, [0]),
    ],
)
def test_levels_are_counted_from_the_superpixels(
    level: LevelChoice, depth: int, expected: Sequence[int]
) -> None:
    encoder = SegmentEncoder(subject(pooling=Pooling(())), level, "auto", 9)
    assert encoder.chosen_levels(depth) == expected


def test_other_levels_than_those_that_were_trained() -> None:
    scene = next(iter(scenes().scenes("val")))
    segments = SegmentEncoder(subject(), None, "auto", 9, levels=[12, 5])(scene)
    assert [int(segments.labels[level].max()) + 1 for level in (1, 2)] == [12, 5]
    ungrouped = subject(pooling=Pooling(()))
    assert [*SegmentEncoder(ungrouped, None, "auto", 9, levels=[12, 5])(scene).labels] == [0]
    with pytest.raises(UserError, match="3 levels were asked for, but the model has 2"):
        SegmentEncoder(subject(), None, "auto", 9, levels=[12, 5, 2])(scene)


def test_what_cannot_be_encoded() -> None:
    scene = next(iter(scenes().scenes("val")))
    with pytest.raises(UserError, match=r"level=3: the backbone has levels 0 to 2"):
        SegmentEncoder(subject(), 3, "auto", 9)(scene)
    with pytest.raises(UserError, match=r"level=1: the backbone has levels 0 to 0"):
        SegmentEncoder(subject("vit_tiny"), 1, "auto", 9)(scene)
    with pytest.raises(UserError, match=r"has no fusion block.*model\.fusion"):
        SegmentEncoder(Subject(create_model("cast_tiny")), None, "auto", 9)
    with pytest.raises(UserError, match="has no projector"):
        SegmentEncoder(subject(projector=False), None, "projector", 9)
