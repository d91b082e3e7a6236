"""A backbone with a head."""

from itertools import product

import pytest
import torch
from support.segmentation_run import SIDE, backbone, task
from torch import nn

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


def test_a_pixel_has_the_best_class_of_its_superpixel() -> None:
    model = SegmentationModel(backbone(), SegmentationHead(24, 3), ["a", "b", "c"]).eval()
    image, maps = (
        torch.randn(1, 3, SIDE, SIDE),
        torch.arange(SIDE * SIDE).view(1, SIDE, SIDE) // 128,
    )
    full = maps[0].repeat_interleave(3, 0).repeat_interleave(2, 1)
    found = model.predict(image, maps, full)
    with torch.no_grad():
        scores = model(image, maps).logits[0]
    assert torch.equal(found.pixels, scores.argmax(-1)[full])
    assert found.pixels.shape == (3 * SIDE, 2 * SIDE)


def test_between_patches_scores_are_interpolated() -> None:
    """In 16 x 16 patches, of which the last row and column stand out of the image."""
    torch.manual_seed(0)
    model = SegmentationModel(backbone("vit"), SegmentationHead(24, 5)).eval()
    height, width = 41, 62
    image, maps = torch.randn(1, 3, height, width), torch.zeros(1, height, width).long()
    found = model.predict(image, maps, maps[0].repeat_interleave(2, 0))
    assert torch.equal(found.pixels, found.paint(found.scores))
    scores = torch.randn(12, 5)
    patches = scores.T.view(5, 3, 4)
    expected = torch.empty(height, width).long()
    for y, x in product(range(height), range(width)):
        row, column = (min(max((i + 0.5) / 16 - 0.5, 0), n) for i, n in ((y, 2), (x, 3)))
        top, left = min(int(row), 1), min(int(column), 2)
        down, right = row - top, column - left
        above, below = (
            (1 - right) * patches[:, line, left] + right * patches[:, line, left + 1]
            for line in (top, top + 1)
        )
        expected[y, x] = ((1 - down) * above + down * below).argmax()
    assert torch.equal(found.paint(scores), expected.repeat_interleave(2, 0))


def test_batch_statistics_of_the_head_over_pixels() -> None:
    """As of the release, whose head is of convolutions on the pixels of the map."""
    torch.manual_seed(0)
    head = SegmentationHead(24, 3)
    model = SegmentationModel(backbone().eval(), head.train(), pixel_norm=True).double()
    maps = (torch.arange(SIDE * SIDE).view(1, SIDE, SIDE).sqrt() / 3).long().expand(2, -1, -1)
    images = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)
    official = nn.Sequential(
        nn.Conv2d(24, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 3, 1)
    ).double()
    values = {k: v.clone() for k, v in head.state_dict().items()}
    official.load_state_dict(
        {k: v[..., None, None] if v.ndim == 2 else v for k, v in values.items()}
    )
    segmented = model(images, maps)
    fused = segmented.hierarchy.fused
    pixels = official(
        torch.stack([f[m] for f, m in zip(fused, maps, strict=True)]).permute(0, 3, 1, 2)
    )
    found = segmented.hierarchy.on_pixels(segmented.logits)
    torch.testing.assert_close(found, pixels)
    torch.testing.assert_close(head[1].running_var, official[1].running_var)
    weight = torch.randn_like(pixels)
    gradients = [
        torch.autograd.grad((output * weight).sum(), [fused, *part.parameters()], retain_graph=True)
        for output, part in ((found, head), (pixels, official))
    ]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs.view_as(mine))


def test_a_head_needs_features_of_superpixels() -> None:
    with pytest.raises(UserError, match=r"no fusion block.*model\.fusion=true"):
        SegmentationModel(backbone(fusion=False), SegmentationHead(24, 3))
