"""Merging by colour against a version that looks at all pixels of all pairs anew each time."""

from itertools import combinations, pairwise

import cv2
import numpy as np
import pytest
import torch
from support.scenes import shape_scenes

from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD
from cast_exp.evaluation.hierarchy import merge_levels


def lab(image):
    return cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2LAB).astype(np.float64)


def deviations(colours):
    return np.square(colours - colours.mean(0)).sum()


def touch(labels, a, b):
    pairs = np.concatenate(
        [
            np.stack([labels[1:].ravel(), labels[:-1].ravel()], 1),
            np.stack([labels[:, 1:].ravel(), labels[:, :-1].ravel()], 1),
        ]
    )
    return bool((np.sort(pairs, 1) == sorted((a, b))).all(1).any())


def slow_merge(image, labels, count):
    """Segment map with `count` segments."""
    colours, labels = lab(image), labels.copy()
    while len(np.unique(labels)) > count:
        costs = {
            (a, b): deviations(colours[(labels == a) | (labels == b)])
            - deviations(colours[labels == a])
            - deviations(colours[labels == b])
            for a, b in combinations(np.unique(labels), 2)
            if touch(labels, a, b)
        }
        kept, gone = min(costs, key=lambda pair: costs[pair])
        labels[labels == gone] = kept
    return labels


def same_partition(a, b):
    pairs = np.unique(np.stack([a.ravel(), b.ravel()], 1), axis=0)
    return len(pairs) == len(np.unique(a)) == len(np.unique(b))


@pytest.mark.parametrize(("seed", "number"), [(0, 6), (1, 12), (2, 20)])
def test_segments_are_those_of_the_slow_version(seed, number):
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.random((3, 12, 14), dtype=np.float32))
    coarse = rng.integers(number, size=(6, 7)).repeat(2, 0).repeat(2, 1)
    labels = np.unique(coarse, return_inverse=True)[1].reshape(12, 14)
    counts = (number // 2, 3, 1)
    levels = merge_levels(image, torch.from_numpy(labels), counts)
    for count, level in zip(counts, levels, strict=True):
        assert same_partition(level.numpy()[labels], slow_merge(image, labels, count))


def test_levels_nest_and_have_the_counts_on_a_drawn_creature():
    (scene,) = shape_scenes(1)
    mean, std = (torch.tensor(x)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    levels = merge_levels(scene.image[0] * std + mean, scene.superpixels.map[0], (64, 16, 8, 4))
    wanted = [min(count, scene.count) for count in (64, 16, 8, 4)]
    assert [len(level.unique()) for level in levels] == wanted
    for fine, coarse in pairwise(levels):
        assert len(torch.stack([fine, coarse]).unique(dim=1).T) == len(fine.unique())


def test_two_colours_are_found_whatever_the_superpixels():
    image = torch.zeros(3, 16, 16)
    image[0, 4:12, 4:12] = 1
    labels = torch.arange(64).view(8, 8).repeat_interleave(2, 0).repeat_interleave(2, 1)
    (level,) = merge_levels(image, labels, (2,))
    assert same_partition(level[labels].numpy(), image[0].numpy())


def test_one_superpixel_is_one_segment():
    levels = merge_levels(torch.rand(3, 4, 5), torch.zeros(4, 5, dtype=torch.long), (8, 1))
    assert [level.tolist() for level in levels] == [[0], [0]]
