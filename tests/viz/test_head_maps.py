"""Masks against a loop over pixels, and what the sheet shows."""

import numpy as np
import pytest
import torch

from cast_exp.models import Attention, Hierarchy, Level
from cast_exp.viz.head_maps import (
    HeadMaps,
    binary_masks,
    figure_ground_sheet,
    superpixel_heads,
)


def hierarchy(heads=3, superpixels=10, segments=6, side=12):
    """Two images whose attention is to segments of the first grouping; the last one is empty."""
    random = torch.Generator().manual_seed(0)
    scores = torch.randn(2, superpixels, segments, generator=random)
    scores[..., -1] = -9
    levels = (
        Level(
            torch.zeros(2, superpixels, 4), torch.zeros(2, superpixels, dtype=torch.bool), scores
        ),
        Level(torch.zeros(2, segments, 4), torch.zeros(2, segments, dtype=torch.bool), None),
    )
    maps = torch.randint(superpixels, (2, side, side), generator=random)
    attention = torch.rand(2, heads, segments, generator=random) ** 2
    return Hierarchy(torch.zeros(2, 4), maps, levels, None, Attention(attention, level=1))


@pytest.mark.parametrize("rule", ["tokens", "pixels"])
@pytest.mark.parametrize("mass", [0.3, 0.6])
def test_masks_hold_their_share_in_as_little_as_can_be(rule, mass):
    made = hierarchy()
    masks, heat = binary_masks(made, mass, rule), superpixel_heads(made)
    segments = made.segmentation(1)
    for image in range(2):
        for head, values in enumerate(made.attention.heads[image].tolist()):
            sizes = torch.bincount(segments[image].flatten(), minlength=6).tolist()
            if rule == "pixels":
                values = [value * (size > 0) for value, size in zip(values, sizes, strict=True)]
                ranked = sorted(range(6), key=lambda i: -values[i] / max(sizes[i], 1))
            else:
                ranked = sorted(range(6), key=lambda i: -values[i])
            chosen = set()
            for segment in ranked:
                if sum(values[i] for i in chosen) < mass * sum(values):
                    chosen.add(segment)
            pixels = masks[image, head][made.superpixels[image]]
            assert pixels.tolist() == [
                [s in chosen for s in row] for row in segments[image].tolist()
            ]
            painted = heat[image, head][made.superpixels[image]]
            assert torch.equal(painted, made.attention.heads[image, head][segments[image]])


def test_a_hierarchy_without_attention_is_refused():
    plain = Hierarchy(torch.zeros(2, 4), torch.zeros(2, 4, 4).long(), hierarchy().levels)
    with pytest.raises(ValueError, match="attention=BLOCK"):
        binary_masks(plain)


def maps(heads, height=20, width=32, truth=True):
    rng = np.random.default_rng(0)
    objects = np.zeros((2 * height, 2 * width), int)  # truth of another resolution
    objects[10:30, 10:40], objects[:, -6:] = 3, 255
    masks = np.zeros((heads, height, width), bool)
    masks[:, 5:15, 5:20] = True
    return HeadMaps(
        rng.integers(0, 255, (height, width, 3), dtype=np.uint8),
        rng.random((heads, height, width)),
        masks,
        objects if truth else None,
        np.linspace(0, 0.9, heads) if truth else None,
    )


@pytest.mark.parametrize(
    ("heads", "truth", "grid"), [(12, True, (2, 7)), (3, True, (1, 5)), (6, False, (1, 7))]
)
def test_a_cell_for_each_head(heads, truth, grid):
    sheet = figure_ground_sheet([maps(heads, truth=truth)] * 2, side=96)
    step = 100  # with the gap
    rows, columns = grid
    assert sheet.shape == (2 * rows * step + 8 + 4, columns * step + 4, 4)
    covered = sheet[..., 3] > 0
    assert covered[: rows * step].sum() == (heads + 1 + truth) * 96 * 60
    assert not covered[:, :4].any()


def test_the_best_head_is_framed():
    sheet = figure_ground_sheet([maps(3)], side=96)
    framed = (sheet[..., :3] == (255, 176, 0)).all(-1)
    assert framed[4:64, 4 + 4 * 100 : 100 + 4 * 100].sum() > 4 * 2 * (96 + 52)
    assert not framed[:, : 4 * 100].any()
    assert not (figure_ground_sheet([maps(3, truth=False)])[..., :3] == (255, 176, 0)).all(-1).any()


@pytest.mark.parametrize("shape", [(1, 1), (700, 40), (3, 500)])
def test_any_shape_and_even_no_attention(shape):
    image = HeadMaps(
        np.zeros((*shape, 3), np.uint8), np.zeros((2, *shape)), np.zeros((2, *shape), bool)
    )
    assert figure_ground_sheet([image], side=64).shape[0] == 64 + 8
