from itertools import pairwise

import numpy as np
import pytest
import torch

from cast_exp.ops.labels import contours
from cast_exp.viz import hierarchy_sheet, paint_levels, palette


def nested(side: int, counts: list[int], seed: int) -> list[np.ndarray]:
    """Random nested segmentations from fine to coarse."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(counts[0], size=(side, side))
    levels = [labels]
    for fine, coarse in pairwise(counts):
        labels = rng.integers(coarse, size=fine)[labels]
        levels.append(labels)
    return levels


def test_palette_is_fixed_by_its_seed_and_has_distant_colours() -> None:
    colours = palette(64, seed=3)
    assert (colours == palette(64, seed=3)).all()
    assert (palette(8, seed=3) == colours[:8]).all()
    assert (palette(8, seed=4) != colours[:8]).any()
    distance = np.abs(colours[:, None].astype(int) - colours[None]).sum(-1)
    assert distance[np.triu_indices(64, 1)].min() > 20
    assert distance[:8, :8][np.triu_indices(8, 1)].min() > 60
    assert len(palette(5000)) == 5000


@pytest.mark.parametrize("seed", range(4))
def test_painted_levels_agree(seed: int) -> None:
    levels = nested(40, [60, 17, 9, 4], seed)
    painted = paint_levels(levels, seed)
    for labels, picture in zip(levels, painted, strict=True):
        shown = {}
        for label in np.unique(labels):
            colours = np.unique(picture[labels == label], axis=0)
            assert len(colours) == 1  # one colour for a segment
            shown[label] = tuple(colours[0])
        assert len(set(shown.values())) == len(shown)  # and no other segment has it
    for (fine, below), (coarse, above) in pairwise(zip(levels, painted, strict=True)):
        for segment in np.unique(coarse):
            inside = coarse == segment
            parts, sizes = np.unique(fine[inside], return_counts=True)
            largest = fine == parts[sizes.argmax()]
            if (sizes == sizes.max()).sum() == 1:
                assert (below[largest] == above[inside][0]).all()


def test_labels_with_gaps_are_painted() -> None:
    fine = np.array([[0, 0, 7, 9]])
    coarse = np.array([[5, 5, 5, 2]])
    below, above = paint_levels([fine, coarse])
    assert (above[0, 0] == above[0, 2]).all()
    assert (below[0, 0] == above[0, 0]).all()  # the largest part of segment 5
    assert (below[0, 2] != above[0, 0]).any()
    assert (below[0, 3] == above[0, 3]).all()


def test_sheet_shows_images_superpixels_and_levels() -> None:
    size = 40
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    both = [nested(size, [9, 3], seed) for seed in (0, 1)]
    stacks = [np.stack(level) for level in zip(*both, strict=True)]
    sheet = hierarchy_sheet(images, [torch.from_numpy(s) for s in stacks], side=64)
    factor, gap, top = 2, 4, 22
    side = factor * size
    assert sheet.dtype == np.uint8
    assert sheet.shape == (top + 2 * (side + gap), 3 * (side + gap) + gap, 3)

    def cell(row: int, column: int) -> np.ndarray:
        y, x = top + row * (side + gap), gap + column * (side + gap)
        return sheet[y : y + side, x : x + side]

    for row in range(2):
        picture = (images[row] * 255).round().byte().permute(1, 2, 0).numpy()
        enlarged = np.kron(picture, np.ones((factor, factor, 1), dtype=np.uint8))
        assert (cell(row, 0) == enlarged).all()
        fine, coarse = (np.kron(s[row], np.ones((factor, factor), dtype=int)) for s in stacks)
        assert (cell(row, 1)[contours(fine)] == 255).all()
        assert (cell(row, 1)[~contours(fine)] == enlarged[~contours(fine)]).all()
        assert len(np.unique(cell(row, 2)[~contours(coarse)], axis=0)) == len(np.unique(coarse))
    assert (sheet[:top] < 255).any()  # titles


def test_sheet_of_superpixels_alone_and_of_large_images() -> None:
    images = torch.zeros(1, 3, 300, 320)
    labels = torch.zeros(1, 300, 320, dtype=torch.int64)
    sheet = hierarchy_sheet(images, [labels])
    assert sheet.shape[1] == 2 * 320 + 3 * 8  # not enlarged
