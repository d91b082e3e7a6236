"""Scores of windows on an image, against loops over windows and pixels."""

import pytest
import torch
from support.segmentation_run import backbone
from torch import Tensor
from torch.nn import functional as F

from cast_exp.models import SegmentationModel
from cast_exp.models.heads import Decoder, SegmentationHead
from cast_exp.models.windows import Windows, starts
from cast_exp.ops import Superpixels

SIDE = 32
CLASSES = 5


class Scattered(Decoder):
    """Scores that differ much from token to token."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("matrix", torch.randn(dim, classes))

    def forward(self, features: Tensor, padding: Tensor, sizes: Tensor | None = None) -> Tensor:
        return 3 * (100 * features @ self.matrix).sin()

    def reset_parameters(self) -> None:
        """There are none."""


def windows(height: int, width: int, stride: int, mirrored: bool = False) -> Windows:
    tops, lefts = (starts(length, SIDE, stride) for length in (height, width))
    number = len(tops) * len(lefts)
    cells = torch.arange(SIDE) * 5 // SIDE
    labels = (5 * cells[:, None] + cells).expand(number, -1, -1)
    images = torch.randn(number, 3, SIDE, SIDE)
    return Windows(images, Superpixels.of(labels), tops, lefts, (height, width), mirrored)


def on_pixels(model: SegmentationModel, version: Windows, height: int, width: int) -> Tensor:
    """Mean scores of all pixels, of one window at a time, at the size that is wanted."""
    total = torch.zeros(CLASSES, *version.size)
    count = torch.zeros(*version.size)
    places = [(top, left) for top in version.tops for left in version.lefts]
    for number, (top, left) in enumerate(places):
        segmented = model(version.images[number][None], version.superpixels.map[number][None])
        scores = segmented.hierarchy.on_pixels(segmented.logits)[0]
        total[:, top : top + SIDE, left : left + SIDE] += scores
        count[top : top + SIDE, left : left + SIDE] += 1
    assert count.min() > 0
    enlarged = F.interpolate((total / count)[None], (height, width), mode="bilinear")[0]
    return enlarged.flip(-1) if version.mirrored else enlarged


@pytest.mark.parametrize("family", ["cast", "vit"])
@pytest.mark.parametrize(
    ("sizes", "mirrored", "wanted"),
    [
        ([(32, 75)], False, (32, 75)),
        ([(67, 41)], False, (67, 41)),
        ([(67, 41)], False, (90, 53)),
        ([(32, 39), (45, 55)], True, (71, 87)),
    ],
)
@torch.no_grad()
def test_classes_are_those_of_mean_scores(
    family: str, sizes: list[tuple[int, int]], mirrored: bool, wanted: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    model = SegmentationModel(backbone(family), Scattered(24, CLASSES)).eval()
    flips = (False, True)[: 1 + mirrored]
    versions = [windows(*size, 23, flip) for size in sizes for flip in flips]
    full = torch.zeros(wanted, dtype=torch.int64)
    found = model.predict(versions[0].images[:1], full[None], full, True, versions)
    expected = [on_pixels(model, version, *wanted) for version in versions]
    if len(expected) == 1:
        scores = expected[0]
    else:
        scores = torch.stack([each.softmax(0) for each in expected]).mean(0)
    assert len(scores.argmax(0).unique()) > 1
    first, second = scores.topk(2, 0).values
    clear = first - second > 1e-3  # sums are rounded otherwise in another order
    assert clear.float().mean() > 0.98
    assert torch.equal(found.pixels[clear], scores.argmax(0)[clear])


@torch.no_grad()
def test_superpixels_of_an_image_are_those_of_its_most_central_windows() -> None:
    version = windows(67, 41, 23)
    model = SegmentationModel(backbone(), SegmentationHead(24, CLASSES)).eval()
    full = torch.zeros(134, 41, dtype=torch.int64)
    found = model.predict(version.images[:1], full[None], full, True, [version])
    places = [(top, left) for top in version.tops for left in version.lefts]
    nearest = []
    for y in range(134):
        for x in range(41):
            distances = [
                max(abs(2 * (y // 2 - top) + 1 - SIDE), 0) * 1000 + abs(2 * (x - left) + 1 - SIDE)
                for top, left in places
            ]
            window = min(range(len(places)), key=distances.__getitem__)
            top, left = places[window]
            cell = version.superpixels.map[window, y // 2 - top, x - left]
            nearest.append(int(cell) + 25 * window)
    assert torch.equal(found.superpixels.flatten(), torch.tensor(nearest))
    # Segments are numbered on from window to window, and nest in them.
    assert len(found.levels) == 3
    assert found.scores.shape == (25 * len(places), CLASSES)
    for level, count in zip(found.levels, (25, 12, 6), strict=True):
        assert torch.equal(level // count, torch.arange(25 * len(places)) // 25)


def test_starts() -> None:
    assert starts(512, 512, 480) == (0,)
    assert starts(513, 512, 480) == (0, 1)
    assert starts(992, 512, 480) == (0, 480)
    assert starts(1000, 512, 480) == (0, 480, 488)
