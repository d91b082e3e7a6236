from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cast_exp.superpixels.connectivity import connected_components, merge_fragments


def flood(labels: NDArray[np.int64], first: int = 0) -> NDArray[np.int64]:
    """Pieces of one image in the order of their first pixels, by flood fill."""
    found = np.full(labels.shape, -1)
    count = first
    for start in product(*map(range, labels.shape)):
        if found[start] >= 0:
            continue
        stack = [start]
        while stack:
            y, x = stack.pop()
            inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
            if inside and found[y, x] < 0 and labels[y, x] == labels[start]:
                found[y, x] = count
                stack += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        count += 1
    return found


def spiral(side: int) -> NDArray[np.int64]:
    """Two arms one pixel wide, wound into each other: the longest way for a label to travel."""
    labels = np.zeros((side, side), np.int64)
    for ring in range(0, side // 2, 2):
        labels[ring : side - ring, ring : side - ring] = 1
        labels[ring + 1 : side - ring - 1, ring + 1 : side - ring - 1] = 0
        labels[ring + 1, ring] = 0
        labels[ring + 2 : ring + 3, ring : ring + 2] = 1
    return labels


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (4, 6), (17, 13), (40, 40)])
@pytest.mark.parametrize("kinds", [1, 2, 4])
def test_components_equal_flood_fill(size: tuple[int, int], kinds: int) -> None:
    labels = np.random.default_rng(0).integers(0, kinds, (3, *size))
    expected = []
    for image in labels:
        expected.append(flood(image, 0 if not expected else int(expected[-1].max()) + 1))
    found = connected_components(torch.from_numpy(labels)).numpy()
    np.testing.assert_array_equal(found, expected)


def test_components_of_a_spiral() -> None:
    labels = spiral(31)
    found = connected_components(torch.from_numpy(labels)[None])[0].numpy()
    np.testing.assert_array_equal(found, flood(labels))


def slow_merge(labels: NDArray[np.int64], colours: NDArray[np.float64]) -> NDArray[np.int64]:
    """The rounds of `merge_fragments` on one image (H, W), colours (C, H, W), with sets."""
    pieces = flood(labels)
    areas = {piece: int((pieces == piece).sum()) for piece in range(pieces.max() + 1)}
    main = set()
    for label in np.unique(labels):
        owned = np.unique(pieces[labels == label])
        main.add(max(owned, key=lambda piece: (areas[piece], -piece)))
    while True:
        ids = [int(piece) for piece in np.unique(pieces)]
        sizes = {piece: int((pieces == piece).sum()) for piece in ids}
        means = {piece: colours[:, pieces == piece].mean(1) for piece in ids}
        touching: dict[int, set[int]] = {piece: set() for piece in ids}
        for a, b in ((pieces[1:], pieces[:-1]), (pieces[:, 1:], pieces[:, :-1])):
            for one, other in zip(a[a != b], b[a != b], strict=True):
                touching[one].add(other)
                touching[other].add(one)
        fragments = [
            piece
            for piece in ids
            if piece not in main or sizes[piece] * len(main) * 8 < labels.size
        ]
        target = {
            piece: min(
                touching[piece],
                key=lambda other, piece=piece: (((means[piece] - means[other]) ** 2).sum(), other),
            )
            for piece in fragments
            if touching[piece]
        }
        if not target:
            return pieces
        for piece in list(target):
            if target.get(target.get(piece, -1)) == piece and piece < target[piece]:
                del target[piece]

        def follow(piece: int, target: dict[int, int] = target) -> int:
            return follow(target[piece]) if piece in target else piece

        main = {follow(piece) for piece in main}
        pieces = np.vectorize(follow)(pieces)


def same_partition(found: Tensor, expected: NDArray[np.int64]) -> bool:
    pairs = set(zip(found.flatten().tolist(), expected.flatten().tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (8, 8), (15, 22), (30, 30)])
@pytest.mark.parametrize("kinds", [1, 2, 5, 30])
def test_merging_equals_a_slow_reference(size: tuple[int, int], kinds: int) -> None:
    random = np.random.default_rng(kinds)
    coarse = random.integers(0, kinds, (4, -(-size[0] // 5), -(-size[1] // 5)))
    labels = coarse.repeat(5, 1).repeat(5, 2)[:, : size[0], : size[1]]
    speckled = random.random(labels.shape) < 0.2
    labels = np.where(speckled, random.integers(0, kinds, labels.shape), labels)
    colours = random.integers(0, 256, (4, 3, *size)) / 2.0
    found = merge_fragments(torch.from_numpy(labels), torch.from_numpy(colours))
    for image in range(4):
        assert same_partition(found[image], slow_merge(labels[image], colours[image]))
        assert set(found[image].flatten().tolist()) == set(range(int(found[image].max()) + 1))


def test_fragments_join_the_most_similar_neighbour() -> None:
    labels = torch.zeros(1, 20, 30, dtype=torch.long)
    labels[..., 15:] = 1
    brightness = torch.where(labels == 0, 10.0, 50.0)
    labels[0, 5:7, 14:16] = 2  # small, between both, bright as the right one
    brightness[0, 5:7, 14:16] = 45
    labels[0, 10, 3] = 1  # an orphan of the right one, inside the left one
    found = merge_fragments(labels, brightness[:, None])[0]
    expected = torch.zeros(20, 30, dtype=torch.long)
    expected[:, 15:] = 1
    expected[5:7, 14:16] = 1
    assert torch.equal(found, expected)


def test_nothing_to_merge() -> None:
    labels = torch.arange(4).view(1, 2, 2).repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert torch.equal(merge_fragments(labels, torch.rand(1, 3, 16, 16)), labels)
