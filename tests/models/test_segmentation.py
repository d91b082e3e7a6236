"""A backbone with a head."""

import pytest
import torch
from support.segmentation_run import SIDE, backbone, task

from cast_exp.errors import UserError
from cast_exp.models import SegmentationModel
from cast_exp.models.heads import SegmentationHead


def test_superpixels_that_do_not_exist_have_no_scores_and_no_part_in_batch_statistics() -> None:
    head = SegmentationHead(24, 3)
    model = SegmentationModel(task().backbone.eval(), head)
    few = torch.arange(SIDE * SIDE).view(SIDE, SIDE) * 9 // SIDE**2
    many = torch.arange(SIDE * SIDE).view(SIDE, SIDE) * 20 // SIDE**2
    logits, hierarchy = vars(
        model(torch.randn(2, 3, SIDE, SIDE), torch.stack([few, many]))
    ).values()
    assert logits.shape == (2, 20, 3)
    assert not logits[0, 9:].any()
    rows = torch.cat([hierarchy.fused[0, :9], hierarchy.fused[1]])[None]
    expected = head(rows, torch.zeros(1, 29, dtype=torch.bool))[0]
    torch.testing.assert_close(torch.cat([logits[0, :9], logits[1]]), expected)


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
