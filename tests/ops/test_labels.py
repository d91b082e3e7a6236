"""Label maps: borders, numbers and sizes, against plain definitions."""

import numpy as np
import pytest
import torch

from cast_exp.ops.labels import as_array, compact, contours, nearest, shrunk_superpixels


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (13, 8)])
def test_contours_differ_from_a_neighbour(shape: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).integers(3, size=shape)
    expected = np.zeros(shape, dtype=bool)
    for y in range(shape[0]):
        for x in range(shape[1]):
            for v, u in [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]:
                if 0 <= v < shape[0] and 0 <= u < shape[1]:
                    expected[y, x] |= labels[y, x] != labels[v, u]
    assert (contours(labels) == expected).all()
    assert (contours(np.stack([labels] * 2)) == expected).all()


def test_a_superpixel_that_vanishes_appears_at_its_centroid() -> None:
    full = np.zeros((40, 60), np.int64)
    full[9:11, 20:22] = 1  # smaller than a pixel of the result, off their centres
    full[31, 3] = 2
    small = shrunk_superpixels(full, 8, 12)
    assert 1 not in nearest(full, 8, 12)
    assert small[1, 4] == 1 or small[2, 4] == 1
    assert small[6, 0] == 2
    assert (np.bincount(small.ravel()) == [94, 1, 1]).all()


def test_pixels_are_shared_when_they_just_suffice() -> None:
    full = np.arange(48).reshape(6, 8)
    assert sorted(shrunk_superpixels(full, 8, 6).ravel()) == list(range(48))
    crowd = np.zeros((30, 30), np.int64)
    crowd[4:7, 4:7] = np.arange(1, 10).reshape(3, 3)  # all at one pixel of the result
    small = shrunk_superpixels(crowd, 5, 2)
    assert sorted(small.ravel()) == list(range(10))
    assert compact(np.array([[7, 2], [2, 9]])).tolist() == [[1, 0], [0, 2]]


@pytest.mark.parametrize("size", [(5, 7), (12, 9), (30, 41), (60, 18)])
def test_each_pixel_takes_the_label_at_its_centre(size: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).integers(0, 9, (2, 12, 18))
    found = nearest(maps, *size)
    for y, x in np.ndindex(*size):
        at = (2 * y + 1) * 12 // (2 * size[0]), (2 * x + 1) * 18 // (2 * size[1])
        assert (found[:, y, x] == maps[:, *at]).all()
    tensor = nearest(torch.from_numpy(maps), *size)
    assert (as_array(tensor) == found).all()
    exact = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None].double(), size, mode="nearest-exact"
    )
    assert torch.equal(exact[:, 0].long(), tensor)
