"""A backbone with a head."""

import pytest
import torch
from support.segmentation_run import SIDE, backbone, task

from cast_exp.errors import UserError
from cast_exp.models import SegmentationModel
from cast_exp.models.heads import SegmentationHead


def test_batch_statistics_of_the_head_count_superpixels_that_exist() -> None:
    """An image with fewer superpixels than its batch adds no rows of zeros."""
    tuned = task()
    head = SegmentationHead(24, 3)
    segmenter = SegmentationModel(tuned.backbone, head).eval()
    seen: list[int] = []
    head.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    few = torch.arange(SIDE * SIDE).view(SIDE, SIDE) * 9 // SIDE**2
    many = torch.arange(SIDE * SIDE).view(SIDE, SIDE) * 20 // SIDE**2
    found = segmenter(torch.randn(2, 3, SIDE, SIDE), torch.stack([few, many]))
    assert seen == [29]
    assert found.logits.shape == (2, 20, 3)
    assert not found.logits[0, 9:].any()


@pytest.mark.parametrize("family", ["cast", "vit"])
def test_a_pixel_has_the_best_class_of_its_superpixel(family: str) -> None:
    model = SegmentationModel(backbone(family), SegmentationHead(24, 3), ["a", "b", "c"]).eval()
    image, maps = (
        torch.randn(1, 3, SIDE, SIDE),
        torch.arange(SIDE * SIDE).view(1, SIDE, SIDE) // 128,
    )
    full = maps[0].repeat_interleave(3, 0).repeat_interleave(2, 1)
    found = model.predict(image, maps, full)
    with torch.no_grad():
        scores = model(image, maps).logits[0]
    places = full if family == "cast" else found.hierarchy.tokens_at(full[None])[0]
    assert torch.equal(found.pixels, scores.argmax(-1)[places])
    assert found.pixels.shape == (3 * SIDE, 2 * SIDE)


def test_a_head_needs_features_of_superpixels() -> None:
    with pytest.raises(UserError, match=r"no fusion block.*model\.fusion=true"):
        SegmentationModel(backbone(fusion=False), SegmentationHead(24, 3))
